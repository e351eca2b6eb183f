"""Changes of messages as clients ask for them, and what became of them (contract, section 10)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from postbus.api.schemas.fields import Given, Input, Line, MailboxPath, Output

MAX_NAMES = 1000  # flags or labels in one list


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Flags = Annotated[
    list[Annotated[Line, StringConstraints(min_length=1, max_length=128)]],
    Field(max_length=MAX_NAMES),
    BeforeValidator(_one_or_more),
]


class FlagsInput(Input):
    """Flags to change."""

    add: Given[Flags] = Field(None, description="Flags to add", examples=[["\\Seen"]])
    delete: Given[Flags] = Field(None, description="Flags to take away", examples=[["\\Flagged"]])
    set: Given[Flags] = Field(
        None,
        description="These flags and no others, whatever `add` and `delete` say; an empty list takes all away",
        examples=[["\\Seen", "$Label1"]],
    )


class LabelsInput(Input):
    """Labels to change (Gmail)."""

    add: Given[Flags] = Field(None, description="Labels to add", examples=[["Work"]])
    delete: Given[Flags] = Field(None, description="Labels to take away", examples=[["\\Inbox"]])
    set: Given[Flags] = Field(None, description="These labels and no others, whatever `add` and `delete` say")


class UpdateInput(Input):
    """What to change of a message."""

    flags: Given[FlagsInput] = Field(None, description="Flags to change")
    labels: Given[LabelsInput] = Field(None, description="Labels to change; ignored by servers other than Gmail")


class MoveInput(Input):
    """Where to move a message."""

    path: MailboxPath = Field(description="Path of the target mailbox, or a special use", examples=["Archive"])
    source: Given[MailboxPath] = Field(
        None, description="Mailbox it is taken from; the id of the message says that already, so it is not looked at"
    )


class DeleteQuery(Input):
    """How to delete."""

    force: bool = Field(False, description="Delete for good, also outside of Trash")


Done = bool | list[str]


class FlagsChanged(Output):
    """What became of the flags. False where the mailbox keeps none of them."""

    add: Given[Done] = Field(None, description="Flags were added")
    delete: Given[Done] = Field(None, description="Flags were taken away")
    set: Given[Done] = Field(None, description="All flags were replaced")
    result: Given[list[str]] = Field(None, description="The flags as they are now", examples=[["\\Seen"]])


class LabelsChanged(Output):
    """What became of the labels (Gmail)."""

    add: Given[Done] = Field(None, description="Labels were added")
    delete: Given[Done] = Field(None, description="Labels were taken away")
    set: Given[Done] = Field(None, description="All labels were replaced")
    result: Given[list[str]] = Field(None, description="The labels as they are now", examples=[["Work"]])


class Updated(Output):
    """What was changed; what was not asked for is absent."""

    flags: Given[FlagsChanged] = Field(None, description="What became of the flags")
    labels: Given[LabelsChanged] = Field(None, description="What became of the labels")


class Moved(Output):
    """Where the message is now; `id` and `uid` are there if the mail server tells (UIDPLUS)."""

    path: str = Field(description="Path of the mailbox it is in", examples=["Archive"])
    id: Given[str] = Field(None, description="Its id there", examples=["AAAAAgAAAAE"])
    uid: Given[int] = Field(None, description="Its UID there", examples=[1])


class MovedToTrash(Output):
    """Where a message went that was deleted."""

    destination: Given[str] = Field(None, description="Path of the mailbox it is in", examples=["Trash"])
    message: Given[str] = Field(None, description="Its id there", examples=["AAAABAAAAAE"])


class Deleted(Output):
    """What became of the message."""

    deleted: Given[bool] = Field(
        None,
        description="It is gone for good. Without `moved`, `false` says that it is only marked as deleted: the mail "
        "server has no UIDPLUS, and would delete what others marked along with it",
    )
    moved: Given[MovedToTrash] = Field(None, description="It was moved to Trash")
