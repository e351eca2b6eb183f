"""Changes of all messages that a search finds, and what became of them (contract, section 10)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from postbus.api.schemas.changes import Done, FlagsInput, LabelsInput
from postbus.api.schemas.fields import Given, Input, MailboxPath, Output
from postbus.api.schemas.search import SearchInput


def _says_something(value: SearchInput) -> SearchInput:
    """Refuse a search whose every term is empty, and would so find all messages; who wants all writes `{}`."""
    given = value.model_dump(exclude_none=True)
    if (given and not any(map(_is_term, given.values()))) or given.get("email_ids") == []:
        raise PydanticCustomError("empty_search", "must hold something to look for; {} means all messages")
    return value


def _is_term(value: Any) -> bool:
    """Whether it has to hold; what is empty is not looked for."""
    if isinstance(value, dict) and value.keys() <= {"has", "not_"}:
        return any(any(labels) for labels in value.values())
    return isinstance(value, bool | int) or bool(value)


Search = Annotated[
    SearchInput, AfterValidator(_says_something), Field(description="Which messages; `{}` means all of the mailbox")
]
IdMap = Annotated[
    list[Annotated[list[str], Field(min_length=2, max_length=2)]],
    Field(examples=[[["AAAAAQAAAeE", "AAAABAAAAAE"]]]),
]


class BulkQuery(Input):
    """Which mailbox."""

    path: MailboxPath = Field(description="Path of the mailbox, or a special use", examples=["INBOX"])


class BulkDeleteQuery(BulkQuery):
    """Which mailbox, and how to delete."""

    force: bool = Field(False, description="Delete for good, also outside of Trash")


class ChangesInput(Input):
    """What to change."""

    flags: Given[FlagsInput] = Field(None, description="Flags to change")
    labels: Given[LabelsInput] = Field(None, description="Labels to change; ignored by servers other than Gmail")


class BulkUpdateInput(Input):
    """Which messages, and what to change of them."""

    search: Search
    update: Given[ChangesInput] = Field(None, description="What to change")


class BulkMoveInput(Input):
    """Which messages, and where to."""

    search: Search
    path: MailboxPath = Field(description="Path of the target mailbox, or a special use", examples=["Archive"])


class BulkDeleteInput(Input):
    """Which messages."""

    search: Search


class BulkFlagsChanged(Output):
    """What became of the flags. False where the mailbox keeps none of them."""

    add: Given[Done] = Field(None, description="Flags were added")
    delete: Given[Done] = Field(None, description="Flags were taken away")
    set: Given[Done] = Field(None, description="All flags were replaced")


class BulkLabelsChanged(Output):
    """What became of the labels (Gmail)."""

    add: Given[Done] = Field(None, description="Labels were added")
    delete: Given[Done] = Field(None, description="Labels were taken away")
    set: Given[Done] = Field(None, description="All labels were replaced")


class BulkUpdated(Output):
    """What was changed of all messages found; what was not asked for is absent."""

    flags: Given[BulkFlagsChanged] = Field(None, description="What became of the flags")
    labels: Given[BulkLabelsChanged] = Field(None, description="What became of the labels")


class BulkMoved(Output):
    """Where the messages are now."""

    path: str = Field(description="Path of the mailbox they are in", examples=["Archive"])
    id_map: Given[IdMap] = Field(
        None, description="Old and new id of each message, if the mail server tells (UIDPLUS) and there are any"
    )


class BulkMovedToTrash(Output):
    """Where messages went that were deleted."""

    destination: str = Field(description="Path of the mailbox they are in", examples=["Trash"])
    id_map: Given[IdMap] = Field(None, description="Old and new id of each message, if the mail server tells")


class BulkDeleted(Output):
    """What became of the messages."""

    deleted: Given[bool] = Field(
        None, description="They are gone for good; `false` where there were none, or they could only be marked"
    )
    moved: Given[BulkMovedToTrash] = Field(None, description="They were moved to Trash")
