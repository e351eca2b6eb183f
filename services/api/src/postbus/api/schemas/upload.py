"""A message to put into a mailbox, as clients write it (contract, section 10)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from postbus.api.schemas.changes import Flags
from postbus.api.schemas.fields import Given, Input, InstantInput, Line, MailboxPath, Output, single_line
from postbus.api.schemas.submit import (
    MAX_ATTACHMENTS,
    MAX_HEADERS,
    Addresses,
    AddressInput,
    AttachmentInput,
    Content,
    HeaderName,
    HeaderValues,
    ReferenceAnswer,
    ReferenceInput,
)

_READY_MADE = frozenset({"path", "flags", "internal_date", "raw"})


class UploadInput(Input):
    """A message to put into a mailbox: ready-made (`raw`), or to be composed of the other fields."""

    model_config = ConfigDict(
        title="Upload",
        json_schema_extra={
            "examples": [
                {"path": "Drafts", "flags": ["\\Draft"], "subject": "Hello", "text": "Hello from the API"},
                {"path": "INBOX", "raw": "U3ViamVjdDogSGVsbG8NCg0KSGVsbG8NCg=="},
            ]
        },
    )

    path: MailboxPath = Field(description="Path of the mailbox, or a special use", examples=["Drafts"])
    flags: Given[Flags] = Field(None, description="Flags it has there", examples=[["\\Seen", "\\Draft"]])
    internal_date: Given[InstantInput] = Field(
        None, description="When it arrived, and its Date header unless it is ready-made; now if not given"
    )
    raw: Given[Annotated[Content, StringConstraints(min_length=1)]] = Field(
        None, description="The whole message in base64; nothing else may describe it then"
    )
    reference: Given[ReferenceInput] = Field(None, description="The message this one answers or forwards")
    from_: Given[AddressInput] = Field(
        None, alias="from", description="Sender; name and email of the account if not given"
    )
    to: Addresses = Field(None, description="Recipients; those of the original where a reply names none")
    cc: Addresses = Field(None, description="Recipients of copies")
    bcc: Addresses = Field(None, description="Recipients nobody sees")
    subject: Given[
        Annotated[str, StringConstraints(strip_whitespace=True, max_length=10_240), AfterValidator(single_line)]
    ] = Field(None, description="Subject; that of the original with Re: or Fwd: if not given", examples=["Hello"])
    text: Given[Content] = Field(None, description="Plain text", examples=["Hello from the API"])
    html: Given[Content] = Field(None, description="HTML", examples=["<p>Hello from the API</p>"])
    attachments: Given[Annotated[list[AttachmentInput], Field(max_length=MAX_ATTACHMENTS)]] = Field(
        None, description="Files to attach"
    )
    message_id: Given[
        Annotated[
            Line, StringConstraints(strip_whitespace=True, max_length=996, pattern=r"^(<[!-;=?-~]+>|[!-;=?-~]+)$")
        ]
    ] = Field(None, description="Message-ID; made if not given", examples=["<a1@example.com>"])
    headers: Given[Annotated[dict[HeaderName, HeaderValues], Field(max_length=MAX_HEADERS)]] = Field(
        None, description="More header fields: a value, or a list of them", examples=[{"X-Campaign": "spring"}]
    )

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if self.raw is not None and (more := self.model_fields_set - _READY_MADE):
            names = ", ".join(sorted(name.rstrip("_") for name in more))
            raise PydanticCustomError("raw_conflict", '"raw" must not stand beside {names}', {"names": names})
        return self


class Uploaded(Output):
    """Where the message is; `id` and `uid` are there if the mail server tells (UIDPLUS)."""

    id: Given[str] = Field(None, description="Id of the message", examples=["AAAAAgAAAAE"])
    path: Given[str] = Field(None, description="Path of the mailbox it is in", examples=["Drafts"])
    uid: Given[int] = Field(None, description="Its UID there", examples=[1])
    uid_validity: Given[str] = Field(None, description="UIDVALIDITY of the mailbox", examples=["1792843765"])
    message_id: Given[str] = Field(None, description="Its Message-ID", examples=["<a1@example.com>"])
    reference: Given[ReferenceAnswer] = Field(None, description="What became of the reference")
