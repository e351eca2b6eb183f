"""Flushing an account, as clients ask for it."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from postbus.api.schemas.accounts import IndexerInput, Moment
from postbus.api.schemas.fields import Input, Output


class FlushInput(Input):
    """Whether to flush, and what is announced afterwards."""

    flush: bool = Field(False, description="Forget the index of all mailboxes and build it again", examples=[True])
    notify_from: Moment | None = Field(
        None,
        description="Messages older than this raise no messageNew, younger ones do, also those that did before. "
        "If it is not given, what was not announced yet is, and nothing again",
        json_schema_extra={"default": "now", "format": "date-time"},
    )
    imap_indexer: IndexerInput | None = Field(
        None, description="How the account is indexed from now on; as before if not given"
    )

    @model_validator(mode="before")
    @classmethod
    def _now_is_nothing(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("notifyFrom") == "now":
            return {name: value for name, value in given.items() if name != "notifyFrom"}
        return given

    @property
    def from_now(self) -> bool:
        """Whether no date was given."""
        return "notify_from" not in self.model_fields_set


class Flushed(Output):
    """Whether the account was flushed."""

    flush: bool = Field(False, description="The same as in the request")
