"""Kinds of fields that many requests share: addresses, host names, text for one header line, lists of one or more."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, get_args

import email_validator
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    HttpUrl,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, core_schema

from postbus.common.service_settings import ProxyUrl

MASK = "******"  # what stands for a secret in answers; never stored when it comes back

MAX_ADDRESSES = 10_000  # of one list
MAX_PORT = 65_535
MAX_LOCAL_PART = 64  # octets; RFC 5321, 4.5.3.1.1
MAX_ADDRESS = 254  # characters; what fits between the brackets of a path, RFC 5321, 4.5.3.1.3

_CONTROL = re.compile(r"[\x00\r\n]")
_PLAIN_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_HOST = re.compile(r"(?=.{1,253}$)[\w](?:[\w.-]*[\w])?\.?")
_HTTP_URL: TypeAdapter[HttpUrl] = TypeAdapter(HttpUrl)


class Input(BaseModel):
    """Base of request bodies and queries: camelCase, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=False)


class Output(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


def single_line(value: str) -> str:
    """Refuse what would end a header line, a command or a C string (header and command injection)."""
    if _CONTROL.search(value):
        raise PydanticCustomError("single_line", "must not hold line breaks or NUL")
    return value


def mail_address(value: str) -> str:
    """An address as a mail server takes it (RFC 5321, 6531), as it was written; no look-up, no list of domains."""
    fits = len(value.rpartition("@")[0].encode("utf-8", "replace")) <= MAX_LOCAL_PART and len(value) <= MAX_ADDRESS
    if fits and _PLAIN_ADDRESS.fullmatch(value):
        return value
    try:
        if not fits:
            raise ValueError("too long")
        email_validator.validate_email(
            value,
            check_deliverability=False,
            globally_deliverable=False,
            allow_quoted_local=True,
            allow_domain_literal=True,
            test_environment=True,
        )
    except ValueError as error:
        raise PydanticCustomError("email", "must be a valid email address") from error
    return value


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        if not _HOST.fullmatch(value) or ".." in value:
            raise PydanticCustomError("hostname", "must be a valid host name or IP address") from None
        return value
    return value.strip("[]")


def _http_url(value: str) -> str:
    try:
        _HTTP_URL.validate_python(value or "http://empty")
    except ValidationError as error:
        raise PydanticCustomError("uri", "must be an absolute http or https URL") from error
    return value


def _some(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        raise PydanticCustomError("one_or_more", "should be one value or a list of values")
    return [value] if isinstance(value, dict | str) else value


def _some_text(value: Any) -> Any:
    if value is None or isinstance(value, int | float | dict):
        raise PydanticCustomError("one_or_more", "should be a string or a list of strings")
    return [value] if isinstance(value, str) else value


def _instant(value: Any) -> Any:
    """ISO 8601 or milliseconds since 1970, as JavaScript writes them; without a zone it is UTC."""
    if isinstance(value, bool):
        raise PydanticCustomError("instant", "must be a date in ISO 8601 form")
    return value


def _aware(value: datetime) -> datetime:
    try:
        aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("instant", "must be a date in ISO 8601 form") from error
    if not 1970 <= aware.year <= 9000:
        raise PydanticCustomError("instant", "must be a date between 1970 and 9000")
    return aware.replace(microsecond=aware.microsecond // 1000 * 1000)


class _Given:
    """`T | None` where None only means "not given": null is refused, and no union shows in the places of errors."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return handler.generate_schema(get_args(source)[0])


class _GivenOrFalse:
    """The same for `T | false`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        inner = handler.generate_schema(get_args(source)[0])

        def validate(value: Any, validate_object: core_schema.ValidatorFunctionWrapHandler) -> Any:
            return False if value is False else validate_object(value)

        return core_schema.no_info_wrap_validator_function(validate, inner)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "boolean", "enum": [False]}]}


T = TypeVar("T")
Given = Annotated[T | None, _Given()]
GivenOrFalse = Annotated[T | Literal[False] | None, _GivenOrFalse()]
ONE_OR_MORE = BeforeValidator(_some)
ONE_OR_MORE_TEXTS = BeforeValidator(_some_text)

Line = Annotated[str, AfterValidator(single_line)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=256), AfterValidator(single_line)]
MailAddress = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(mail_address),
    Field(json_schema_extra={"format": "email"}),
]
HostName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_host)]
PortNumber = Annotated[int, Field(ge=1, le=MAX_PORT)]
WebUrl = Annotated[
    str, AfterValidator(single_line), AfterValidator(_http_url), Field(json_schema_extra={"format": "uri"})
]
ProxyInput = Annotated[ProxyUrl, Field(json_schema_extra={"format": "uri"})]
MailboxPath = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(single_line)]
InstantInput = Annotated[datetime, BeforeValidator(_instant), AfterValidator(_aware)]
