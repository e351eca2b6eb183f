"""Commands between services: one request model each. Answers are JSON that the API passes on as it is, or a stream.

Subjects: `ee.rpc.<partition>.<op>` reaches the worker that owns the account, `ee.rpc.auth.<op>` any auth service.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from postbus.common import ids
from postbus.common.accounts import Indexer, Protocol
from postbus.common.jobs import Filing

ACCOUNTS_CHANGED = "ee.ctl.accounts"  # hint, payload: account token: created, changed, deleted, or to be reconnected
SETTINGS_CHANGED = "ee.ctl.settings"  # hint, no payload
PLACEMENT_CHANGED = "ee.ctl.place"  # hint, no payload
METRICS_WANTED = "ee.ctl.metrics"  # request to all: each answers its own metrics as Prometheus text

TextType = Literal["plain", "html", "*"]


class Command(BaseModel):
    """Base of all requests: which account, by its id."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    account: str


class CountConnections(Command):
    """`connections`: how many connections to the mail server are open. Answer: a number, in any state."""


class CountMailboxes(Command):
    """`mailboxes`: live counters of all mailboxes. Answer: `{path: {messages, unseen} | {error}}`."""


class CreateMailbox(Command):
    """`create-mailbox`: answer `{path, mailboxId?, created}`; one that is there already is no error.

    The levels of the path come in order, or as one text with the server's delimiter.
    """

    path: list[str]


class ChangeMailbox(Command):
    """`change-mailbox`: rename, subscribe or both. Answer: `{path, newPath?, renamed?, subscribed?, mailboxId?}`."""

    path: str
    new_path: list[str] | None = None
    subscribed: bool | None = None


class DeleteMailbox(Command):
    """`delete-mailbox`: answer `{path, mailboxId?, deleted}`; a server that refuses is no error."""

    path: str


class ListMessages(Command):
    """`messages`: one page of a mailbox, newest first. Answer: the body of the listing."""

    path: str
    page: int = 0
    page_size: int = 20


class SearchLabels(BaseModel):
    """Labels a message has to have, and those it must not have."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    has: list[str] = []
    not_: list[str] = Field([], alias="not")


class SearchQuery(BaseModel):
    """What to look for (contract, section 8). All that is given has to hold; None and empty text mean nothing.

    Sizes are bytes, dates aware. `seq` and `uid` are sequence sets (RFC 9051, 9); a header that is True or empty only
    has to be there.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    seq: str | None = None
    uid: str | None = None
    answered: bool | None = None
    deleted: bool | None = None
    draft: bool | None = None
    flagged: bool | None = None
    seen: bool | None = None
    unseen: bool | None = None
    from_: str | None = Field(None, alias="from")
    to: str | None = None
    cc: str | None = None
    bcc: str | None = None
    body: str | None = None
    subject: str | None = None
    larger: int | None = None
    smaller: int | None = None
    modseq: int | None = None
    before: datetime | None = None
    since: datetime | None = None
    sent_before: datetime | None = None
    sent_since: datetime | None = None
    email_id: str | None = None
    thread_id: str | None = None
    email_ids: list[str] = []
    header: dict[str, str | Literal[True]] = {}
    gmail_raw: str | None = None
    labels: SearchLabels = SearchLabels()


class SearchMessages(Command):
    """`search`: one page of what was found in a mailbox, newest first. Answer: as of `messages`.

    NotSupported where the server lacks the extension a key needs; CommandRefused `BADCHARSET` where it can't search for
    text that is not ASCII.
    """

    path: str
    search: SearchQuery
    page: int = 0
    page_size: int = 20


class GetMessage(Command):
    """`message`: one message. Answer: its body; text only with `text_type` or `web_safe_html`.

    `web_safe_html`: all text, its HTML made safe to show, with its images unless `embed_attached_images` is False.
    `pre_process_html`: what HTML is asked for is made safe. Images can be put into HTML without that, too.
    """

    message: str
    text_type: TextType | None = None
    max_bytes: int | None = None
    web_safe_html: bool = False
    pre_process_html: bool = False
    embed_attached_images: bool | None = None
    mark_as_seen: bool = False


class Change(BaseModel):
    """Flags or labels to add and to take away; `set`, where it is not None, stands for all of them and wins."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    add: list[str] = []
    delete: list[str] = []
    set: list[str] | None = None


class UpdateMessage(Command):
    """`update-message`: flags and labels of one message. Answer: `{flags?, labels?}`.

    Each tells of what was asked whether it was done, and as `result` what there is now. Labels are Gmail's; elsewhere
    they are left out.
    """

    message: str
    flags: Change | None = None
    labels: Change | None = None


class MoveMessage(Command):
    """`move-message`: one message to another mailbox of the account. Answer: `{path, id?, uid?}`."""

    message: str
    path: str


class DeleteMessage(Command):
    """`delete-message`: to Trash; for good with `force`, and out of Trash and Junk. Answer: `{deleted, moved?}`."""

    message: str
    force: bool = False


class UploadMessage(Command):
    """`upload-message`: put a message into a mailbox. Answer: `{path, id?, uid?, uidValidity?}`.

    `raw` is empty where the bytes lie in RAW, under `raw_id` in `raw_chunks` pieces.
    """

    path: str
    flags: list[str] = []
    internal_date: datetime | None = None
    raw: bytes = b""
    raw_id: str = ""
    raw_chunks: int = 0

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class UpdateMessages(Command):
    """`update-messages`: flags and labels of all messages that a search finds. Answer: as `update-message`, no result.

    These three act on what the search finds when they begin; a failure in the middle leaves what was done.
    """

    path: str
    search: SearchQuery
    flags: Change | None = None
    labels: Change | None = None


class MoveMessages(Command):
    """`move-messages`: all that a search finds in `path`. Answer: `{path, idMap?}`; the map pairs old and new ids."""

    path: str
    search: SearchQuery
    target: str


class DeleteMessages(Command):
    """`delete-messages`: all that a search finds, as `delete-message`. Answer: `{deleted, moved?}`."""

    path: str
    search: SearchQuery
    force: bool = False


class GetText(Command):
    """`text`: the text of a message by its text id. Answer: `{plain?, html?, hasMore, webSafe?}`, as of `message`."""

    text: str
    text_type: TextType = "*"
    max_bytes: int | None = None
    web_safe_html: bool = False


class GetAttachment(Command):
    """`attachment`: a stream; its head is a DownloadHead."""

    attachment: str


class GetSource(Command):
    """`source`: the message as it came, a stream; its head is a DownloadHead."""

    message: str


class GetReference(Command):
    """`reference`: what a reply or forward needs of the original. Answer: ReferenceInfo."""

    message: str


class FileMessage(Command):
    """`file`: put the copy of a delivered message where it belongs and flag the original. Answer: FileResult.

    Idempotent by Message-ID. `raw` is empty where the bytes lie in RAW (`filing.raw_chunks`).
    """

    filing: Filing
    raw: bytes = b""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Reconnect(Command):
    """`reconnect`: drop the connections and start again. Answer: `{}`."""


class FlushAccount(Command):
    """`flush`: forget the index and build it again in silence. Answer: `{}`; Busy `LockFail` while another is flushed.

    `from_now`: what was not told yet is told, and nothing again; else mail since `notify_from` is announced, again too.
    `imap_indexer` replaces that of the account. Who sends it again with the same `flush_id` flushes once.
    """

    flush_id: str
    from_now: bool = True
    notify_from: datetime | None = None
    imap_indexer: Indexer | None = None


class Resync(Command):
    """`sync`: list the mailboxes and compare all that is synced with the server, soon. Answer: `{}`."""


class GetQuota(Command):
    """`quota`: answer `{usage, limit, status}`, sizes in bytes, or `false` where the server tells of no limit."""


class EnsureCredentials(Command):
    """`ensure` (auth): fetch credentials of an account with `useAuthServer` and keep them sealed for the asker.

    Errors: AuthenticationFailed when the auth server refuses or answers nonsense, ConnectFailed when it is away.
    """

    proto: Protocol


class VerifyLogin(BaseModel):
    """`verify` (any imap-sync, any sender): try a login. Answer: LoginResult (`postbus.common.verifying`).

    `sealed` is a LoginTest, encrypted for this very `id`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    sealed: str


class DownloadHead(BaseModel):
    """What a download is, before its bytes: `filename` None where the message names none, `size` None if unknown."""

    model_config = ConfigDict(frozen=True)

    content_type: str
    filename: str | None = None
    disposition: Literal["attachment", "inline"] = "attachment"
    size: int | None = None


class ReferenceAddress(BaseModel):
    """An address of the original message."""

    name: str = ""
    address: str


class ReferenceInfo(BaseModel):
    """What a reply or forward needs to know of the original message."""

    message_id: str | None
    in_reply_to: str | None
    references: str | None
    subject: str
    from_: list[ReferenceAddress]
    reply_to: list[ReferenceAddress]
    to: list[ReferenceAddress]
    cc: list[ReferenceAddress]
    thread_id: str | None = None


class FileResult(BaseModel):
    """What became of a filing: the path of the copy, or why there is none."""

    path: str | None = None
    skipped: str | None = None


def owner_subject(token: str, operation: str) -> str:
    """Where the owner of an account listens for a command."""
    return f"ee.rpc.{ids.partition_of(token)}.{operation}"


def verify_subject(proto: Protocol) -> str:
    """Where services that speak this protocol listen for logins to try."""
    return f"ee.rpc.{proto}.verify"


def auth_subject(operation: str) -> str:
    """Where the auth services listen."""
    return f"ee.rpc.auth.{operation}"
