"""What to look for in a mailbox (contract, section 8)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from postbus.api.schemas.fields import ONE_OR_MORE_TEXTS, Given, Input, InstantInput, MailboxPath
from postbus.api.schemas.messages import MAX_PAGE, MAX_PAGE_SIZE

MAX_SEARCH_SIZE = 1_073_741_824  # bytes
MAX_HEADERS = 100
MAX_IDS = 1000
MAX_LABELS = 100

_RANGE = r"(?:[1-9][0-9]{0,9}|\*)(?::(?:[1-9][0-9]{0,9}|\*))?"  # RFC 9051, seq-range
_SEQUENCE_SET = rf"^(?:{_RANGE}(?:,{_RANGE})*)?$"


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul", "must not hold NUL")
    return value


def _sequence_set(value: str) -> str:
    if not re.fullmatch(_SEQUENCE_SET, value):
        raise PydanticCustomError("sequence_set", "should be numbers and ranges such as 1:5,7")
    return value


SequenceSet = Annotated[
    str,
    StringConstraints(max_length=8192),
    AfterValidator(_sequence_set),
    Field(json_schema_extra={"pattern": _SEQUENCE_SET}),
]
Text = Annotated[str, StringConstraints(max_length=256), AfterValidator(_without_nul)]
Subject = Annotated[str, StringConstraints(max_length=2560), AfterValidator(_without_nul)]
GmailQuery = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_without_nul)]
Id = Annotated[str, StringConstraints(max_length=256)]
Label = Annotated[str, StringConstraints(max_length=128), AfterValidator(_without_nul)]
Size = Annotated[int, Field(ge=0, le=MAX_SEARCH_SIZE)]
HeaderName = Annotated[str, StringConstraints(max_length=256, pattern=r"^[!-9;-~]+$")]
HeaderValue = Annotated[str, StringConstraints(max_length=2560), AfterValidator(_without_nul)] | Literal[True]
Labels = Annotated[list[Label], Field(max_length=MAX_LABELS), ONE_OR_MORE_TEXTS]


class LabelsInput(Input):
    """Labels of Gmail."""

    has: Given[Labels] = Field(None, description="Labels a message has to have")
    not_: Given[Labels] = Field(None, alias="not", description="Labels a message must not have")


class SearchInput(Input):
    """What to look for; all of it has to hold. Empty text means nothing."""

    seq: Given[SequenceSet] = Field(None, description="Sequence numbers and ranges", examples=["1:100"])
    uid: Given[SequenceSet] = Field(None, description="UIDs and ranges", examples=["481:*"])
    answered: Given[bool] = Field(None, description="Whether it was answered")
    deleted: Given[bool] = Field(None, description="Whether it is marked for deletion")
    draft: Given[bool] = Field(None, description="Whether it is a draft")
    flagged: Given[bool] = Field(None, description="Whether it is flagged")
    seen: Given[bool] = Field(None, description="Whether it was seen")
    unseen: Given[bool] = Field(None, description="Whether it was not seen")
    from_: Given[Text] = Field(None, alias="from", description="Part of the From header", examples=["ann@example.com"])
    to: Given[Text] = Field(None, description="Part of the To header")
    cc: Given[Text] = Field(None, description="Part of the Cc header")
    bcc: Given[Text] = Field(None, description="Part of the Bcc header")
    body: Given[Text] = Field(None, description="Part of the body")
    subject: Given[Subject] = Field(None, description="Part of the subject", examples=["Monthly report"])
    larger: Given[Size] = Field(None, description="More bytes than this")
    smaller: Given[Size] = Field(None, description="Fewer bytes than this")
    modseq: Given[Annotated[int, Field(ge=0, le=2**63 - 1)]] = Field(
        None, description="Changed since this MODSEQ (CONDSTORE)"
    )
    before: Given[InstantInput] = Field(None, description="Arrived before; many servers look at the day only")
    since: Given[InstantInput] = Field(None, description="Arrived since; many servers look at the day only")
    sent_before: Given[InstantInput] = Field(None, description="Date header before this day")
    sent_since: Given[InstantInput] = Field(None, description="Date header on this day or later")
    email_id: Given[Id] = Field(None, description="Id of the message the server gave it (OBJECTID, Gmail)")
    thread_id: Given[Id] = Field(None, description="Id of the thread the server gave it (OBJECTID, Gmail)")
    email_ids: Given[Annotated[list[Id], Field(max_length=MAX_IDS), ONE_OR_MORE_TEXTS]] = Field(
        None, description="One of these ids"
    )
    header: Given[Annotated[dict[HeaderName, HeaderValue], Field(max_length=MAX_HEADERS)]] = Field(
        None,
        description="Part of header fields by name; `true` or empty: the field is there",
        examples=[{"Message-ID": "<a1@example.com>", "List-Id": True}],
    )
    gmail_raw: Given[GmailQuery] = Field(None, description="A query as in Gmail; other servers: 422")
    labels: Given[LabelsInput] = Field(None, description="Labels of Gmail; other servers: 422")


class SearchRequest(Input):
    """What to look for."""

    search: SearchInput = Field(description="What has to hold")


class SearchPage(Input):
    """Where to look, and which page of what is found."""

    path: Given[MailboxPath] = Field(
        None, description="Path of the mailbox, or a special use; required", examples=["INBOX"]
    )
    cursor: Annotated[Given[str], StringConstraints(strip_whitespace=True, max_length=1_048_576)] = Field(
        None, description="`nextPageCursor` or `prevPageCursor` of an earlier page, instead of `page`"
    )
    page: int = Field(0, ge=0, le=MAX_PAGE, description="Page, from 0")
    page_size: int = Field(20, ge=1, le=MAX_PAGE_SIZE, description="Messages on a page")
