"""What a request makes of an account's record and secrets. Pure: reads values, gives values (contract, 1, 4 and 35)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from postbus.api.masking import is_masked_url, mask_url, unmask_headers
from postbus.api.schemas.accounts import (
    AccountChange,
    AccountInput,
    AuthInput,
    ImapChange,
    ImapInput,
    SmtpChange,
    SmtpInput,
)
from postbus.api.schemas.fields import MASK
from postbus.api.schemas.verify import VerifyInput
from postbus.common.accounts import (
    AccountRecord,
    CustomHeader,
    ImapSettings,
    Indexer,
    Protocol,
    ServerSettings,
    SmtpSettings,
)
from postbus.common.errors import BadInput
from postbus.common.network import PROXY_SECRET
from postbus.common.times import now

ServerInput = ImapInput | ImapChange | SmtpInput | SmtpChange
Settings = TypeVar("Settings", bound=ServerSettings)

_LOGIN_FIELDS = {"auth", "use_auth_server", "partial"}
_PLAIN_FIELDS = ("name", "email", "notify_from", "logs", "smtp_ehlo_name")


@dataclass(slots=True)
class Changed:
    """The new record, and the secrets that change in the clear: by their name, None for one that goes."""

    record: AccountRecord
    secrets: dict[str, str | None] = field(default_factory=dict)


def new_account(account: str, given: AccountInput, *, indexer: Indexer = "full") -> Changed:
    """The record of an account that is registered now; `indexer` unless it says how. BadInput lists what is missing."""
    record = AccountRecord(account=account, name=given.name, notify_from=now(), imap_indexer=indexer)
    return changed_account(record, (), given)


def changed_account(record: AccountRecord, stored: Collection[str], given: AccountInput | AccountChange) -> Changed:
    """The record with what is given merged in by key; `stored` names the secrets there are.

    `imap` and `smtp` replace what was there, unless they are partial. BadInput lists everything that is missing.
    """
    problems: list[dict[str, str]] = []
    update = _plain_changes(record, given)
    secrets: dict[str, str | None] = {}
    if "proxy" in given.model_fields_set:
        update["proxy"], secret = _proxy(given.proxy or "", record.proxy, problems)
        secrets |= secret
    sides, secret = _sides(record, stored, given, problems)
    if problems:
        raise BadInput(fields=problems)
    return Changed(record.model_copy(update={**update, **sides}), {**secrets, **secret})


def tested_sides(given: VerifyInput) -> Changed:
    """The servers and secrets of logins that are to be tried, as a record would have them; BadInput as above."""
    problems: list[dict[str, str]] = []
    record = AccountRecord(account="")
    sides, secrets = _sides(record, (), given, problems)
    if given.proxy and is_masked_url(given.proxy):
        problems.append({"key": "proxy", "message": '"proxy" is masked, and there is none stored'})
    if problems:
        raise BadInput(fields=problems)
    return Changed(record.model_copy(update=sides), secrets)


def _sides(
    record: AccountRecord,
    stored: Collection[str],
    given: AccountInput | AccountChange | VerifyInput,
    problems: list[dict[str, str]],
) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Changes of both protocols, and of their secrets."""
    update: dict[str, Any] = {}
    secrets: dict[str, str | None] = {}
    if given.imap is not None:
        imap = _Side("imap", given.imap or None, record.imap, stored, problems)
        update["imap"] = imap.settings(ImapSettings)
        secrets |= imap.secrets
    if given.smtp is not None:
        smtp = _Side("smtp", given.smtp or None, record.smtp, stored, problems)
        update["smtp"] = smtp.settings(SmtpSettings)
        secrets |= smtp.secrets
    return update, secrets


def _plain_changes(record: AccountRecord, given: AccountInput | AccountChange) -> dict[str, Any]:
    wanted = given.model_fields_set
    update: dict[str, Any] = {name: getattr(given, name) for name in _PLAIN_FIELDS if name in wanted}
    if "copy_" in wanted:
        update["copy_sent"] = given.copy_
    if "path" in wanted:
        update |= _path(record, tuple(given.path or ["*"]))
    if given.subconnections is not None:
        update["subconnections"] = tuple(dict.fromkeys(given.subconnections))
    if isinstance(given, AccountInput) and given.imap_indexer is not None:
        update["imap_indexer"] = given.imap_indexer
    if given.webhooks is not None and not is_masked_url(given.webhooks):
        update["webhooks"] = given.webhooks or None
    if given.webhooks_custom_headers is not None:
        pairs = [header.model_dump(by_alias=True) for header in given.webhooks_custom_headers]
        restored = unmask_headers(pairs, record.webhooks_custom_headers)
        update["webhooks_custom_headers"] = tuple(CustomHeader(**pair) for pair in restored)
    return update


def _path(record: AccountRecord, path: tuple[str, ...]) -> dict[str, Any]:
    """Which mailboxes are synced; what was in a mailbox before it is one of them is no new mail."""
    return {"path": path} if path == record.path else {"path": path, "path_since": now()}


def _proxy(given: str, before: str | None, problems: list[dict[str, str]]) -> tuple[str | None, dict[str, str | None]]:
    """What the record shows of a proxy, and what becomes of the secret. A mask stands for that very URL only."""
    if is_masked_url(given):
        if given != before:
            problems.append({"key": "proxy", "message": '"proxy" is masked, and not the one that is stored'})
        return before, {}
    shown = mask_url(given)
    return shown or None, {PROXY_SECRET: given if shown != given else None}


@dataclass(slots=True)
class _Side:
    """One protocol of an account: what is asked for, what there is, and what comes of it."""

    proto: Protocol
    given: ServerInput | None
    before: ServerSettings | None
    stored: Collection[str]
    problems: list[dict[str, str]]
    secrets: dict[str, str | None] = field(default_factory=dict)

    def settings(self, kind: type[Settings]) -> Settings | None:
        """The settings from now on, None where the side goes; fills `secrets` and `problems`."""
        if self.given is None:
            self._drop_secrets()
            return None
        values = self._options()
        login = self._login()
        if not values.get("disabled"):
            for name in ("host", "port"):
                if values.get(name) is None:
                    self._refuse(name, "is required")
        values = {**values, **login, "host": values.get("host") or "", "port": values.get("port") or 0}
        return kind.model_validate(values)

    @property
    def _partial(self) -> bool:
        return self.before is not None and bool(getattr(self.given, "partial", False))

    def _options(self) -> dict[str, Any]:
        """All but the login."""
        assert self.given is not None
        given = self.given.model_dump(exclude=_LOGIN_FIELDS, exclude_unset=self._partial)
        given = {name: value for name, value in given.items() if value is not None or name.endswith("_mail_path")}
        tls = {name: value for name, value in (given.pop("tls", None) or {}).items() if value is not None}
        if self._partial and self.before is not None:
            kept = self.before.model_dump()
            return {**kept, **given, "tls": {**kept["tls"], **tls}}
        return {**given, "tls": tls}

    def _login(self) -> dict[str, Any]:
        """User and whether the authentication server is asked."""
        assert self.given is not None
        auth, asks_server = self.given.auth, self.given.use_auth_server
        if auth:
            self._take_secrets(auth)
            return {"user": auth.user, "use_auth_server": False}
        if auth is None and not asks_server:
            if self._partial and self.before is not None:
                asked = self.before.use_auth_server if asks_server is None else False
                return {"user": self.before.user, "use_auth_server": asked}
            if not getattr(self.given, "disabled", False):
                self._refuse("auth", "is required, or useAuthServer")
        elif auth is False and not asks_server and self.proto == "imap":
            self._refuse("auth", "is required, or useAuthServer")
        self._drop_secrets()
        return {"user": None, "use_auth_server": bool(asks_server)}

    def _take_secrets(self, auth: AuthInput) -> None:
        """The one secret that is given replaces both; a masked one stands for what is stored."""
        token = auth.access_token or None
        secret = "pass" if auth.pass_ is not None else "accessToken"
        value = auth.pass_ if auth.pass_ is not None else token
        if value is None:
            if not self._partial:
                self._refuse("auth", "must have one of pass and accessToken")
        elif value == MASK:
            if f"{self.proto}.{secret}" not in self.stored:
                self._refuse(f"auth.{secret}", "is masked, and there is none stored")
        else:
            self._drop_secrets()
            self.secrets[f"{self.proto}.{secret}"] = value

    def _drop_secrets(self) -> None:
        self.secrets |= {f"{self.proto}.pass": None, f"{self.proto}.accessToken": None}

    def _refuse(self, name: str, message: str) -> None:
        key = f"{self.proto}.{name}"
        self.problems.append({"key": key, "message": f'"{key}" {message}'})
