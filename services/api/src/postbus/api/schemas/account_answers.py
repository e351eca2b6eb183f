"""Accounts as clients read them: secrets masked, state and counters beside what was configured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from postbus.api.schemas.fields import Given, GivenOrFalse, Output
from postbus.common.accounts import AccountState, Indexer
from postbus.common.times import Instant

AccountType = Literal["imap", "sending", "invalid"]


class AccountSaved(Output):
    """What became of a registration."""

    account: str = Field(description="Id of the account", examples=["example"])
    state: Literal["new", "existing"] = Field(description="`existing` when the id was known and its record was changed")


class AccountChanged(Output):
    """Which account was changed."""

    account: str = Field(description="Id of the account", examples=["example"])


class AccountRemoved(Output):
    """Which account was removed."""

    account: str = Field(description="Id of the account", examples=["example"])
    deleted: bool = Field(True, description="Whether it was removed")


class Synced(Output):
    """Whether the account is synced now."""

    sync: bool = Field(False, description="The same as in the request")


class Reconnected(Output):
    """Whether the account reconnects now."""

    reconnect: bool = Field(False, description="The same as in the request")


class AuthAnswer(Output):
    """A login; secrets read `******`."""

    user: str = Field(description="User name")
    pass_: Given[str] = Field(None, alias="pass", description="`******` where there is a password")
    access_token: Given[str] = Field(None, description="`******` where there is an access token")


class TlsAnswer(Output):
    """How far the server is trusted."""

    reject_unauthorized: bool = Field(True, description="Refuse certificates that can't be verified")
    min_version: Given[str] = Field(None, description="Oldest protocol version to accept")


class _Server(Output):
    auth: GivenOrFalse[AuthAnswer] = Field(None, description="The login; `false` where nobody logs in")
    use_auth_server: Given[bool] = Field(None, description="The login comes from the authentication server")
    host: str = Field(description="Host name", examples=["imap.example.com"])
    port: int = Field(description="Port", examples=[993])
    secure: bool = Field(False, description="TLS from the start")
    tls: TlsAnswer = Field(TlsAnswer(), description="TLS options")


class ImapAnswer(_Server):
    """The IMAP side."""

    resync_delay: int = Field(900, description="Seconds between full comparisons with the server")
    disabled: Given[bool] = Field(None, description="The account does not connect")
    disable_imap4rev2: bool = Field(False, alias="disableIMAP4rev2", description="Use IMAP4rev1, as is done anyway")
    sent_mail_path: str | None = Field(None, description="Mailbox for sent messages")
    drafts_mail_path: str | None = Field(None, description="Mailbox for drafts")
    junk_mail_path: str | None = Field(None, description="Mailbox for junk")
    trash_mail_path: str | None = Field(None, description="Mailbox for deleted messages")
    archive_mail_path: str | None = Field(None, description="Mailbox for the archive")


class SmtpAnswer(_Server):
    """The SMTP side."""


class HeaderAnswer(Output):
    """A header that is added to webhooks; its value reads `******`."""

    key: str = Field(description="Name")
    value: str = Field("", description="`******` where there is a value")


class LastErrorAnswer(Output):
    """Why the account is not connected."""

    response: Given[str] = Field(None, description="Text of the server")
    server_response_code: Given[str] = Field(None, description="Code of the server, or what failed")
    description: Given[str] = Field(None, description="More about it, for people")


class RoutingAnswer(Output):
    """Which way a connection went."""

    local_address: Given[str] = Field(None, description="Address of ours it came from")
    proxy: Given[str] = Field(None, description="Proxy it went through, without its login")
    name: Given[str] = Field(None, description="Name the server was greeted with")
    requested_local_address: Given[str] = Field(None, description="Address of ours that the message asked for")


class SyncErrorAnswer(Output):
    """A mailbox that can't be synced."""

    path: str = Field(description="Path of the mailbox")
    time: Instant = Field(description="When it was first noticed")
    error: str = Field(description="Words of the mail server", examples=["Mailbox is locked"])


class SmtpStatusAnswer(Output):
    """How the last delivery through the account's SMTP server ended."""

    created: Instant = Field(description="When")
    status: Literal["ok", "error"] = Field(description="How")
    response: Given[str] = Field(None, description="Words of the server")
    description: Given[str] = Field(None, description="More about it, for people")
    response_code: Given[int] = Field(None, description="SMTP code")
    code: Given[str] = Field(None, description="What failed, for programs")
    command: Given[str] = Field(None, description="SMTP command it happened at")
    network_routing: RoutingAnswer | None = Field(None, description="Which way it went, where not the default one")


class Counters(Output):
    """How often things happened."""

    events: dict[str, int] = Field(description="Events by name", examples=[{"messageNew": 30}])


class AccountSummary(Output):
    """An account in the list of accounts."""

    account: str = Field(description="Id of the account", examples=["example"])
    name: str = Field("", description="Name of the owner")
    email: Given[str] = Field(None, description="Address of the account")
    type: AccountType = Field(description="`sending`: it has no IMAP side")
    state: AccountState = Field(description="What it can do right now", examples=["connected"])
    webhooks: Given[str] = Field(None, description="Own webhook target; a password in it reads `******`")
    smtp_ehlo_name: str | None = Field(None, description="Name to greet SMTP servers with")
    proxy: Given[str] = Field(None, description="Own proxy towards mail servers; a login in it reads `******`")
    counters: Counters = Field(description="How often things happened")
    sync_time: Given[str] = Field(
        None, description="When the last change was processed", json_schema_extra={"format": "date-time"}
    )
    last_error: LastErrorAnswer | None = Field(None, description="Why it is not connected; null while it is")


class QuotaAnswer(Output):
    """What the mail server stores and may store."""

    usage: int = Field(description="Bytes stored", examples=[8_547_884_032])
    limit: int = Field(description="Bytes that may be stored", examples=[16_106_127_360])
    status: str = Field(description="How full that is", examples=["53%"])


class DisabledSubconnectionAnswer(Output):
    """A mailbox that was to have a connection of its own and has none."""

    path: str = Field(description="The mailbox, as it was asked for", examples=["INBOX"])
    reason: str = Field(description="Why", examples=["the main connection watches it already"])


class AccountAnswer(AccountSummary):
    """An account, with everything that is stored about it but its secrets."""

    copy_: bool | None = Field(None, alias="copy", description="Whether sent messages are copied to their mailbox")
    notify_from: Instant | None = Field(None, description="Messages older than this raise no messageNew")
    path: list[str] | None = Field(None, description="Mailboxes to watch")
    subconnections: Given[list[str]] = Field(None, description="Mailboxes with a connection of their own")
    disabled_subconnections: Given[list[DisabledSubconnectionAnswer]] = Field(
        None, description="Those of them that have none; absent where all have"
    )
    imap_indexer: Indexer | None = Field(None, description="`fast` tells of new mail only")
    imap: Given[ImapAnswer] = Field(None, description="The IMAP side")
    smtp: Given[SmtpAnswer] = Field(None, description="The SMTP side")
    webhooks_custom_headers: Given[list[HeaderAnswer]] = Field(None, description="Headers added to webhooks")
    smtp_status: SmtpStatusAnswer | None = Field(None, description="How the last delivery ended")
    sync_error: Given[SyncErrorAnswer] = Field(None, description="A mailbox that can't be synced")
    connections: Given[int] = Field(
        None, description="Open connections to its IMAP server; absent where nobody can tell now", examples=[1]
    )
    logs: bool = Field(False, description="Whether a log of the account is kept")
    send_only: bool = Field(False, description="It has no IMAP side")
    quota: GivenOrFalse[QuotaAnswer] = Field(
        None, description="With `quota=true`; `false` where the mail server tells of no limit or can't be asked now"
    )


class AccountPage(Output):
    """One page of accounts, in the order of their ids."""

    total: int = Field(description="How many there are in all", examples=[24])
    page: int = Field(description="This page, from 0", examples=[0])
    pages: int = Field(description="How many pages there are", examples=[2])
    query: GivenOrFalse[str] = Field(None, description="What was searched for; `false` for nothing")
    state: str = Field("*", description="State that was asked for; `*` for all")
    accounts: list[AccountSummary] = Field(description="The accounts")
