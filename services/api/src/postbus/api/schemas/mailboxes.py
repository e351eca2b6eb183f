"""Creating, changing and deleting mailboxes (contract, section 6)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from postbus.api.schemas.fields import ONE_OR_MORE_TEXTS, Given, Input, MailboxPath, Output, single_line

MAX_LEVELS = 100

Level = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(single_line)]


Levels = Annotated[list[Level], Field(min_length=1, max_length=MAX_LEVELS), ONE_OR_MORE_TEXTS]


class CreateMailboxInput(Input):
    """Which mailbox to create."""

    path: Levels = Field(
        description="Its path: the levels in order, or one text with the server's delimiter. The first may be a "
        "special use",
        examples=[["Archive", "2026"]],
    )


class ChangeMailboxInput(Input):
    """What to change of a mailbox."""

    path: MailboxPath = Field(description="Path of the mailbox, or a special use", examples=["Archive/2026"])
    new_path: Given[Levels] = Field(None, description="Its new path, as for a new mailbox", examples=[["Old", "2026"]])
    subscribed: Given[bool] = Field(None, description="Whether to subscribe to it")


class DeleteMailboxQuery(Input):
    """Which mailbox to delete."""

    path: MailboxPath = Field(description="Path of the mailbox, or a special use", examples=["Archive/2026"])


class MailboxCreated(Output):
    """A mailbox that is there now."""

    path: str = Field(description="Its whole path", examples=["Archive/2026"])
    mailbox_id: Given[str] = Field(None, description="Id the server gave it (OBJECTID)")
    created: bool = Field(description="It is new; `false`: it was there already")


class MailboxChanged(Output):
    """What became of a mailbox."""

    path: str = Field(description="Path it had", examples=["Archive/2026"])
    new_path: Given[str] = Field(None, description="Path it has now, where it was to be renamed")
    mailbox_id: Given[str] = Field(None, description="Id the server gave it (OBJECTID)")
    renamed: Given[bool] = Field(None, description="It was renamed; `false`: it has that path already")
    subscribed: Given[bool] = Field(None, description="Whether it is subscribed to, where that was changed")


class MailboxDeleted(Output):
    """What became of a mailbox."""

    path: str = Field(description="Its path", examples=["Archive/2026"])
    mailbox_id: Given[str] = Field(None, description="Id the server gave it (OBJECTID)")
    deleted: bool = Field(description="It is gone; `false`: the server refused")
