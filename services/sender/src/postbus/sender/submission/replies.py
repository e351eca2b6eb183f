"""What a client is told whose message is not taken (RFC 5321, 4.2): "later" where the fault is ours, else never."""

from __future__ import annotations

from postbus.common.errors import BadInput, Busy, Conflict, NotFound, PostbusError, TooLarge
from postbus.sender.submission.accept import NoAccount

MAX_TEXT = 400  # characters; RFC 5321, 4.5.3.1.5 allows 512 octets


def refusal_reply(error: PostbusError) -> str:
    """The reply to a message that was not kept."""
    return f"{_code_of(error)} {_line(_text_of(error))}"


def _code_of(error: PostbusError) -> str:
    match error:
        case NoAccount():
            return "451 4.7.0"
        case TooLarge():
            return "552 5.3.4"
        case NotFound():
            return "550 5.7.1"
        case BadInput() | Conflict():
            return "554 5.6.0"
        case Busy():
            return "451 4.5.0"
        case _ if error.code == "QueueFull":
            return "452 4.3.1"
        case _:
            return "451 4.3.0"


def _text_of(error: PostbusError) -> str:
    if isinstance(error, BadInput) and error.fields:
        return "; ".join(field["message"] for field in error.fields)
    if isinstance(error, BadInput | NotFound | TooLarge | Conflict | Busy) or error.code == "QueueFull":
        return error.message
    return "The message can't be kept now, try again later"  # our own trouble is for the log


def _line(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().split())[:MAX_TEXT]
