"""Verifying logins: imap-sync and the sender try them; what they get is sealed, and stored nowhere."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from starlette.responses import Response

from postbus.api.account_changes import tested_sides
from postbus.api.document import errors_of
from postbus.api.requests import DeadlineS, JsonRoute, PartsOf
from postbus.api.routes.messages import mailbox_view
from postbus.api.schemas.system import NoQuery
from postbus.api.schemas.verify import Verified, VerifyInput
from postbus.common.accounts import MailboxRecord, Protocol
from postbus.common.bus import rpc
from postbus.common.commands import verify_subject
from postbus.common.service import Parts
from postbus.common.verifying import LoginResult, LoginTest, seal_test

router = APIRouter(route_class=JsonRoute, tags=["Account"])

_NOT_STORED = ("messages", "uidNext", "id")
_NEEDS_ACCOUNT = LoginResult(
    success=False,
    code="ENOAUTH",
    error="The authentication server is asked by the id of an account, and this login has none yet",
)


@router.post(
    "/v1/verifyAccount",
    summary="Verify logins",
    response_model=Verified,
    responses=errors_of(400, 401, 500, 503, 504),
)
async def verify_account(
    parts: PartsOf, deadline_s: DeadlineS, _: Annotated[NoQuery, Query()], body: VerifyInput | None = None
) -> Response:
    """Try to log in without storing anything; a login that fails is an answer (200), too."""
    tests = _tests(body or VerifyInput())
    results = await asyncio.gather(*(_ask(parts, proto, test, deadline_s) for proto, test in tests.items()))
    answer: dict[str, Any] = {
        proto: result.model_dump(by_alias=True, exclude_none=True) for proto, result in zip(tests, results, strict=True)
    }
    found = answer["imap"].pop("mailboxes", None) if "imap" in answer else None
    if found is not None:
        answer["mailboxes"] = _mailboxes(found)
    return Response(orjson.dumps(answer), media_type="application/json")


def _tests(body: VerifyInput) -> dict[Protocol, LoginTest]:
    """What to try; a side that is switched off is not tried. BadInput."""
    changed = tested_sides(body)
    record, secrets = changed.record, changed.secrets
    tests: dict[Protocol, LoginTest] = {}
    if record.imap is not None and record.syncs:
        tests["imap"] = LoginTest(
            imap=record.imap,
            password=secrets.get("imap.pass"),
            access_token=secrets.get("imap.accessToken"),
            proxy=body.proxy or None,
            mailboxes=body.mailboxes,
        )
    if record.smtp is not None:
        tests["smtp"] = LoginTest(
            smtp=record.smtp,
            password=secrets.get("smtp.pass"),
            access_token=secrets.get("smtp.accessToken"),
            proxy=body.proxy or None,
            ehlo_name=body.smtp_ehlo_name,
        )
    return tests


async def _ask(parts: Parts, proto: Protocol, test: LoginTest, deadline_s: float) -> LoginResult:
    server = test.imap or test.smtp
    if server is not None and server.use_auth_server:
        return _NEEDS_ACCOUNT
    command = seal_test(parts.secrets, proto, test)
    return LoginResult.model_validate_json(
        await rpc.call(parts.bus, verify_subject(proto), command, deadline_s=deadline_s)
    )


def _mailboxes(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    views = [mailbox_view(MailboxRecord.model_validate(row)) for row in found]
    views = [{name: value for name, value in view.items() if name not in _NOT_STORED} for view in views]
    return sorted(views, key=lambda view: (view["path"] != "INBOX", view["path"]))
