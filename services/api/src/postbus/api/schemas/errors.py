"""The shape of every error answer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from postbus.api.schemas.fields import Given, Output


class FieldError(Output):
    """One thing that is wrong with a request."""

    message: str = Field(description="What is wrong", examples=["Input should be less than or equal to 65535"])
    key: str = Field(description="Where, as a path into the request", examples=["imap.port"])


class ErrorAnswer(Output):
    """Something could not be done."""

    status_code: int = Field(description="The HTTP status", examples=[404])
    error: str = Field(description="The name of the HTTP status", examples=["Not Found"])
    message: str = Field(description="What happened, for people", examples=["Account record was not found"])
    code: Given[str] = Field(None, description="What happened, for programs", examples=["AccountNotFound"])


class BadRequest(ErrorAnswer):
    """The request is wrong; `fields` lists everything that is."""

    fields: Given[list[FieldError]] = Field(None, description="Every failure, each with its place")


class NotUsable(ErrorAnswer):
    """The account, or a part of this service, can't work now; the same request may work later."""

    state: Given[str] = Field(
        None, description="State of the account, where that is the reason", examples=["authenticationError"]
    )


class TooManyRequests(ErrorAnswer):
    """Somebody else is at it; the same request will work later."""

    ttl: Given[int] = Field(None, description="Seconds after which it is worth a try", examples=[12])


class InternalError(ErrorAnswer):
    """A mistake of this service."""

    details: Given[dict[str, Any]] = Field(None, description="More about it")
