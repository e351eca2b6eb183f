"""An account as the API shows it: its secrets as `******`, its state as it counts right now."""

from __future__ import annotations

from typing import Any

from postbus.api.masking import mask_headers, mask_url
from postbus.api.schemas.fields import MASK
from postbus.common.accounts import Account, AccountRecord, AccountState, Protocol
from postbus.common.times import iso


def account_view(account: Account) -> dict[str, Any]:
    """Everything that is stored about an account but its secrets: the body of GET /v1/account/{account}."""
    record = account.record
    view = {
        **account_summary(account),
        "copy": record.copy_sent,
        "notifyFrom": iso(record.notify_from) if record.notify_from else None,
        "path": list(record.path),
        "subconnections": list(record.subconnections),
        "imapIndexer": record.imap_indexer,
        "logs": record.logs,
        "smtpStatus": _smtp_status(account),
        "sendOnly": record.imap is None and record.smtp is not None,
    }
    for proto in ("imap", "smtp"):
        if record.server(proto) is not None:
            view[proto] = _server_view(account, proto)
    if disabled := [note for note in account.disabled_subconnections if note.path in record.subconnections]:
        view["disabledSubconnections"] = [note.model_dump(by_alias=True) for note in disabled]
    if account.sync_error is not None and record.syncs:
        view["syncError"] = account.sync_error.model_dump(mode="json", by_alias=True)
    if record.webhooks_custom_headers:
        view["webhooksCustomHeaders"] = mask_headers(record.webhooks_custom_headers)
    return view


def account_summary(account: Account) -> dict[str, Any]:
    """An account in the list of accounts."""
    record = account.record
    state = shown_state(account)
    hidden = state is AccountState.CONNECTED or account.last_error is None
    error = account.last_error.model_dump(by_alias=True, exclude_none=True) if account.last_error else None
    optional = {
        "email": record.email,
        "webhooks": mask_url(record.webhooks),
        "smtpEhloName": record.smtp_ehlo_name,
        "proxy": record.proxy,
        "syncTime": account.sync_time,
    }
    return {
        "account": record.account,
        "name": record.name,
        "type": account_type(record),
        "state": state.value,
        **{name: value for name, value in optional.items() if value is not None},
        "counters": {"events": account.counters},
        "lastError": None if hidden else error,
    }


def account_type(record: AccountRecord) -> str:
    """What kind of account it is (contract, `type`)."""
    if record.imap is not None and (record.syncs or record.smtp is None):
        return "imap"
    return "sending" if record.smtp is not None else "invalid"


def shown_state(account: Account) -> AccountState:
    """The state: `unset` without an IMAP side that is in use, whatever was stored before that changed."""
    if not account.record.syncs:
        return AccountState.UNSET
    return AccountState.INIT if account.state is AccountState.UNSET else account.state


def _server_view(account: Account, proto: Protocol) -> dict[str, Any]:
    server = account.record.server(proto)
    assert server is not None
    view = server.model_dump(by_alias=True, exclude={"user", "use_auth_server"}, exclude_none=True)
    if server.use_auth_server:
        return {"useAuthServer": True, **view}
    auth: dict[str, str] | bool = {"user": server.user} if server.user is not None else False
    if isinstance(auth, dict):
        auth |= {name: MASK for name in ("pass", "accessToken") if account.sealed.get(f"{proto}.{name}")}
    return {"auth": auth, **view}


def _smtp_status(account: Account) -> dict[str, Any] | None:
    if account.smtp_status is None:
        return None
    return account.smtp_status.model_dump(mode="json", by_alias=True, exclude_none=True)
