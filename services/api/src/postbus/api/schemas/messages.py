"""Mailboxes, messages and their text as clients read them. Most of these describe bytes that imap-sync made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from postbus.api.schemas.fields import Given, GivenOrFalse, Input, MailboxPath, Output

MAX_PAGE = 1_048_576
MAX_PAGE_SIZE = 1000
MAX_TEXT_BYTES = 1_073_741_824

SpecialUse = Literal["\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Inbox"]
MessageSpecialUse = Literal["\\Drafts", "\\Junk", "\\Sent", "\\Trash", "\\Inbox"]
TextTypeInput = Annotated[
    Literal["html", "plain", "*"], BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
]


class MailboxesQuery(Input):
    """What to tell of mailboxes."""

    counters: bool = Field(False, description="Ask the server for current counters (`status`)")


class ListingQuery(Input):
    """Which messages."""

    path: MailboxPath = Field(description="Path of the mailbox, or a special use", examples=["INBOX"])
    cursor: Annotated[Given[str], StringConstraints(strip_whitespace=True, max_length=1_048_576)] = Field(
        None, description="`nextPageCursor` or `prevPageCursor` of an earlier page, instead of `page`"
    )
    page: int = Field(0, ge=0, le=MAX_PAGE, description="Page, from 0")
    page_size: int = Field(20, ge=1, le=MAX_PAGE_SIZE, description="Messages on a page")


class MessageQuery(Input):
    """What to tell of a message."""

    max_bytes: Given[Annotated[int, Field(ge=0, le=MAX_TEXT_BYTES)]] = Field(
        None, description="Most characters of each kind of text"
    )
    text_type: Given[TextTypeInput] = Field(None, description="Which text to include; none if not given")
    web_safe_html: bool = Field(
        False, description="Include all text, with HTML that is safe to show: cleaned, and with its images in it"
    )
    pre_process_html: bool = Field(False, description="Clean the HTML that `textType` asks for, without its images")
    embed_attached_images: Given[bool] = Field(
        None, description="Put attached images into the HTML as `data:` URIs; as `webSafeHtml` if not given"
    )
    mark_as_seen: bool = Field(False, description="Set `\\Seen`")


class TextQuery(Input):
    """Which text."""

    max_bytes: Given[Annotated[int, Field(ge=0, le=MAX_TEXT_BYTES)]] = Field(
        None, description="Most characters of each kind of text"
    )
    text_type: TextTypeInput = Field("*", description="Which text")
    web_safe_html: bool = Field(
        False, description="All text, with HTML that is safe to show: cleaned, and with its images in it"
    )


class MailboxStatus(Output):
    """Current counters."""

    messages: Given[int] = Field(None, description="Messages")
    unseen: Given[int] = Field(None, description="Unseen messages")
    error: Given[str] = Field(None, description="Why there are none")


class ListedMailbox(Output):
    """A mailbox as the server lists it."""

    path: str = Field(description="Path as the user sees it", examples=["Archive/2026"])
    delimiter: str | None = Field(None, description="What stands between levels", examples=["/"])
    parent_path: str = Field("", description="Path of the level above", examples=["Archive"])
    name: str = Field(description="Last part of the path", examples=["2026"])
    listed: bool = Field(True, description="The server lists it")
    subscribed: bool = Field(True, description="The user subscribed to it")
    special_use: Given[SpecialUse] = Field(None, description="What it is for")
    special_use_source: Given[Literal["user", "extension", "name"]] = Field(None, description="Who says so")
    no_inferiors: Given[bool] = Field(None, description="It can't have mailboxes below it")


class Mailbox(ListedMailbox):
    """A mailbox, as of the last sync."""

    id: Given[str] = Field(None, description="Id the server gave it (OBJECTID)")
    messages: int = Field(0, description="Messages", examples=[120])
    uid_next: GivenOrFalse[int] = Field(None, description="UIDNEXT; `false` where the server does not tell")
    status: Given[MailboxStatus] = Field(None, description="Current counters, with `counters=true`")


class MailboxList(Output):
    """All mailboxes of an account."""

    mailboxes: list[Mailbox] = Field(description="The mailboxes, INBOX first, then by path")


class MessageAddress(Output):
    """A mail address."""

    name: str = Field("", description="Name, may be empty", examples=["Kaarel Karu"])
    address: str = Field(description="Address", examples=["kaarel@example.com"])


class Attachment(Output):
    """An attachment, without its content."""

    id: str = Field(description="Id to fetch it by", examples=["AAAAAQAAAeEy"])
    content_type: str = Field(description="Content type", examples=["image/png"])
    encoded_size: int = Field(description="Bytes as transferred, with their encoding", examples=[48_120])
    embedded: bool = Field(False, description="Part of the HTML, by its content id")
    inline: bool = Field(False, description="To be shown within the message")
    filename: Given[str] = Field(None, description="File name", examples=["logo.png"])
    content_id: Given[str] = Field(None, description="Content id, with brackets", examples=["<logo@example.com>"])
    encoded_in_message: Given[bool] = Field(None, description="It lies inside an attached message")
    method: Given[str] = Field(None, description="Method of a calendar object", examples=["REQUEST"])


class TextSizes(Output):
    """Bytes of the text parts as transferred."""

    plain: Given[int] = Field(None, description="Plain text", examples=[1013])
    html: Given[int] = Field(None, description="HTML", examples=[1630])


class ListedText(Output):
    """The text of a message: an id to fetch it by, and its size."""

    id: str = Field(description="Id to fetch it by", examples=["AAAAAQAAAeGTkaExkaEykA"])
    encoded_size: TextSizes = Field(description="Bytes as transferred")


class MessageText(ListedText):
    """The text of a message, and the text itself where it was asked for."""

    plain: Given[str] = Field(None, description="Plain text")
    html: Given[str] = Field(None, description="HTML")
    has_more: Given[bool] = Field(None, description="It was cut at `maxBytes`")
    web_safe: Given[bool] = Field(None, description="The HTML is safe to show")


class ListedMessage(Output):
    """A message in a listing. Flags as booleans are there only when they are true."""

    id: str = Field(description="Id of the message", examples=["AAAAAQAAAeE"])
    uid: int = Field(description="UID in its mailbox", examples=[481])
    email_id: Given[str] = Field(None, description="Id of the message the server gave it")
    thread_id: Given[str] = Field(None, description="Id of the thread the server gave it")
    path: Given[str] = Field(None, description="Path of the mailbox")
    date: Given[str] = Field(None, description="Date header, else arrival", json_schema_extra={"format": "date-time"})
    draft: Given[bool] = Field(None, description="It is a draft")
    unseen: Given[bool] = Field(None, description="It was not seen")
    flagged: Given[bool] = Field(None, description="It is flagged")
    answered: Given[bool] = Field(None, description="It was answered")
    size: Given[int] = Field(None, description="Bytes", examples=[40_912])
    subject: Given[str] = Field(None, description="Subject", examples=["Monthly report"])
    from_: Given[MessageAddress] = Field(None, alias="from", description="First address of From")
    reply_to: Given[list[MessageAddress]] = Field(None, description="Where replies go")
    to: Given[list[MessageAddress]] = Field(None, description="Recipients")
    cc: Given[list[MessageAddress]] = Field(None, description="Recipients of copies")
    message_id: Given[str] = Field(None, description="Message-ID", examples=["<a1@example.com>"])
    in_reply_to: Given[str] = Field(None, description="Message-ID of the message it answers")
    flags: Given[list[str]] = Field(None, description="IMAP flags", examples=[["\\Seen"]])
    labels: Given[list[str]] = Field(None, description="Labels (Gmail)")
    attachments: Given[list[Attachment]] = Field(None, description="Attachments")
    text: Given[ListedText] = Field(None, description="The text")
    message_special_use: Given[MessageSpecialUse] = Field(None, description="What the message is")


class MessagePage(Output):
    """One page of a mailbox, newest first."""

    total: int = Field(description="Messages in the mailbox", examples=[120])
    page: int = Field(description="This page, from 0", examples=[0])
    pages: int = Field(description="How many pages there are", examples=[24])
    next_page_cursor: str | None = Field(None, description="Cursor of the next page; null on the last one")
    prev_page_cursor: str | None = Field(None, description="Cursor of the page before; null on the first one")
    messages: list[ListedMessage] = Field(description="The messages")


class Message(ListedMessage):
    """A message."""

    sender: Given[MessageAddress] = Field(None, description="Who sent it for somebody else")
    bcc: Given[list[MessageAddress]] = Field(None, description="Recipients nobody sees")
    headers: Given[dict[str, list[str]]] = Field(
        None, description="Header fields by lower-case name, decoded", examples=[{"mime-version": ["1.0"]}]
    )
    text: Given[MessageText] = Field(None, description="The text")
    special_use: Given[SpecialUse] = Field(None, description="What its mailbox is for")


class Text(Output):
    """The text of a message."""

    plain: Given[str] = Field(None, description="Plain text", examples=["Hello world"])
    html: Given[str] = Field(None, description="HTML", examples=["<p>Hello world</p>"])
    has_more: bool = Field(False, description="It was cut at `maxBytes`")
    web_safe: Given[bool] = Field(None, description="The HTML is safe to show")
