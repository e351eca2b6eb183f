"""Putting messages into mailboxes (contract, section 10)."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.requests import AccountId, DeadlineS, MessageRoute, PartsOf
from postbus.api.schemas.system import NoQuery
from postbus.api.schemas.upload import Uploaded, UploadInput
from postbus.api.uploads import upload

router = APIRouter(route_class=MessageRoute, tags=["Message"])


@router.post(
    "/v1/account/{account}/message",
    summary="Upload a message",
    response_model=Uploaded,
    responses=errors_of(400, 401, 404, 413, 500, 502, 503, 504),
)
async def upload_message(
    account: AccountId, body: UploadInput, parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()]
) -> Response:
    """Put a message into a mailbox, such as a draft; it is not sent.

    A reply or forward (`reference`) takes threading headers, and subject and recipients where none are given, from the
    original. If that is missing, the answer is 404.
    """
    told = await upload(parts, await parts.accounts.get(account), body, deadline_s=deadline_s)
    return Response(orjson.dumps(told), media_type="application/json")
