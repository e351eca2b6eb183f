"""A message to send, as clients write it (contract, sections 11 and 12)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints

from postbus.api.schemas.fields import (
    MAX_ADDRESSES,
    ONE_OR_MORE,
    Given,
    Input,
    InstantInput,
    Line,
    MailAddress,
    MailboxPath,
    Name,
    Output,
    ProxyInput,
    mail_address,
    single_line,
)
from postbus.common.service_settings import LocalIp
from postbus.common.times import Instant

MAX_ATTACHMENTS = 1000
MAX_HEADERS = 1000
DOCUMENTED_MAX_SIZE = 5 * 1024**2  # characters; the default of the configuration, which decides


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _return_path(value: str) -> str:
    return mail_address(value) if value else value


def _values(value: Any) -> Any:
    """Values of a header: one, or several in a list; numbers and booleans as they read in JSON."""
    values = value if isinstance(value, list) else [value]
    return [_header_text(one) for one in values]


def _header_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
HeaderValues = Annotated[
    list[Annotated[str, StringConstraints(max_length=64 * 1024), AfterValidator(single_line)]],
    BeforeValidator(_values),
    Field(max_length=MAX_HEADERS),
]
ReturnPath = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_return_path)]
Content = Annotated[str, Field(json_schema_extra={"maxLength": DOCUMENTED_MAX_SIZE})]
Lower = BeforeValidator(_lower)


class AddressInput(Input):
    """A mail address."""

    name: Given[Name] = Field(None, description="Name, may be empty", examples=["Kaarel Karu"])
    address: MailAddress = Field(description="Address", examples=["kaarel@example.com"])


Addresses = Given[Annotated[list[AddressInput], Field(max_length=MAX_ADDRESSES), ONE_OR_MORE]]


class ReferenceInput(Input):
    """The message this one answers or forwards."""

    message: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Id of the message", examples=["AAAAAQAAAeE"]
    )
    action: Annotated[Literal["forward", "reply"], Lower] = Field("reply", description="What this message does with it")


class AttachmentInput(Input):
    """A file to attach."""

    filename: Given[Annotated[Line, Field(max_length=256)]] = Field(
        None, description="File name", examples=["report.pdf"]
    )
    content: Content = Field(description="Content in base64", examples=["SGVsbG8gd29ybGQ="])
    content_type: Given[Annotated[Line, Field(max_length=256, pattern=r"^[!-.0-~]+/[!-.0-:<-~]+( *;.*)?$"), Lower]] = (
        Field(None, description="Content type; by the file name if not given", examples=["application/pdf"])
    )
    content_disposition: Given[Annotated[Literal["inline", "attachment"], Lower]] = Field(
        None, description="`inline` is the default where there is a `cid`"
    )
    cid: Given[Annotated[Line, Field(max_length=256, min_length=1)]] = Field(
        None, description="Content id that the HTML refers to", examples=["logo@example.com"]
    )
    encoding: Literal["base64"] = Field("base64", description="Encoding of `content`")


class EnvelopeInput(Input):
    """Sender and recipients as mail servers see them, over those of the headers."""

    from_: Given[ReturnPath] = Field(
        None, alias="from", description="Return address; may be empty", examples=["bounces@example.com"]
    )
    to: Given[Annotated[list[MailAddress], Field(max_length=3 * MAX_ADDRESSES, min_length=1), ONE_OR_MORE]] = Field(
        None, description="Recipients"
    )


class SubmitInput(Input):
    """A message to send."""

    model_config = ConfigDict(
        title="Submission",
        json_schema_extra={
            "examples": [
                {
                    "to": [{"name": "Andris", "address": "andris@example.com"}],
                    "subject": "Hello",
                    "text": "Hello from the API",
                    "attachments": [
                        {"filename": "note.txt", "content": "SGVsbG8gd29ybGQ=", "contentType": "text/plain"}
                    ],
                },
                {"reference": {"message": "AAAAAQAAAeE", "action": "reply"}, "text": "Thank you!"},
            ]
        },
    )

    reference: Given[ReferenceInput] = Field(None, description="The message this one answers or forwards")
    envelope: Given[EnvelopeInput] = Field(None, description="Sender and recipients, over those of the headers")
    from_: Given[AddressInput] = Field(
        None, alias="from", description="Sender; name and email of the account if not given"
    )
    reply_to: Addresses = Field(None, description="Where replies go")
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
    copy_: bool | None = Field(
        None, alias="copy", description="Put a copy into the mailbox for sent messages; null: as the account says"
    )
    sent_mail_path: Given[MailboxPath] = Field(None, description="Mailbox for the copy, over what is detected")
    send_at: Given[InstantInput] = Field(
        None, description="When to send it; now if not given or past", examples=["2026-12-24T09:00:00.000Z"]
    )
    delivery_attempts: Given[Annotated[int, Field(ge=0, le=1000)]] = Field(
        None, description="Most attempts to deliver; 0: as the setting says, else for 3 days"
    )
    proxy: Given[ProxyInput] = Field(
        None, description="Proxy towards the mail server for this message, over that of the account"
    )
    local_address: Given[LocalIp] = Field(
        None, description="Address of ours to connect from, where it is one that may be used", examples=["192.0.2.1"]
    )


class ReferenceAnswer(Output):
    """What became of the reference."""

    message: str = Field(description="Id of the message that is answered or forwarded", examples=["AAAAAQAAAeE"])
    success: bool = Field(description="It was found")
    thread_id: str | None = Field(None, description="Its thread, where the server has them")


class IdempotencyAnswer(Output):
    """Whether this is the answer to an earlier request with the same key."""

    key: str = Field(description="The key", max_length=1024, examples=["order-4711"])
    status: Literal["MISS", "HIT"] = Field(description="`HIT`: it was answered before, nothing is sent again")


class Queued(Output):
    """The message is stored and will be sent."""

    response: str = Field("Queued for delivery", description="What happened", examples=["Queued for delivery"])
    message_id: str = Field(description="Message-ID it is sent with", examples=["<a1@example.com>"])
    send_at: Instant = Field(description="When it is sent")
    queue_id: str = Field(description="Id of the submission; events name it", examples=["19ac8e5b7c2f00a1b2c"])
    reference: ReferenceAnswer | None = Field(None, description="What became of the reference")
    idempotency: IdempotencyAnswer | None = Field(None, description="With an `Idempotency-Key`: how it was answered")
