"""Sending (contract, sections 11 to 13)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from pydantic import StringConstraints
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.requests import AccountId, DeadlineS, MessageRoute, PartsOf
from postbus.api.schemas.submit import Queued, SubmitInput
from postbus.api.schemas.system import NoQuery
from postbus.api.submissions import submit
from postbus.common.store.idempotency import MAX_KEY

IdempotencyKey = Annotated[
    Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_KEY)] | None,
    Header(
        description="For 24 hours the same key and message get the first answer, and nothing is sent twice; another "
        "message with that key is 409. Failures are forgotten"
    ),
]

router = APIRouter(route_class=MessageRoute, tags=["Submit"])


@router.post(
    "/v1/account/{account}/submit",
    summary="Send a message",
    response_model=Queued,
    responses=errors_of(400, 401, 404, 409, 413, 500, 503, 504),
)
async def submit_message(
    account: AccountId,
    body: SubmitInput,
    parts: PartsOf,
    deadline_s: DeadlineS,
    _: Annotated[NoQuery, Query()],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Compose a message and keep it for delivery; once this answers 200, it will be tried for three days.

    A reply or forward (`reference`) takes threading headers, and subject and recipients where none are given, from the
    original. If that is missing, the answer is 404 and nothing is sent.
    """
    found = await parts.accounts.get(account)
    queued = await submit(parts, found, body, deadline_s=deadline_s, key=idempotency_key)
    return Response(queued.model_dump_json(by_alias=True, exclude_none=True), media_type="application/json")
