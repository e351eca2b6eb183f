"""`PUT /v1/account/{account}/flush`: what the owner is asked, and what becomes of his refusal."""

import httpx
import pytest

from postbus.common.errors import Busy
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio


async def test_a_flush_is_asked_of_the_owner_only_if_it_is_wanted(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    url = f"/v1/account/{account}/flush"
    assert (await client.put(url)).json() == {"flush": False}
    assert (await client.put(url, json={"flush": False})).json() == {"flush": False}
    assert owner.asked == []
    assert (await client.put(url, json={"flush": True})).json() == {"flush": True}
    assert (await client.put(url, json={"flush": True, "notifyFrom": "now"})).json() == {"flush": True}
    since = "2026-11-01T10:00:00.000Z"
    await client.put(url, json={"flush": True, "notifyFrom": since, "imapIndexer": "fast"})
    await client.put(url, json={"flush": True, "notifyFrom": None})
    asked = [command for _, command in owner.asked]
    assert [(one["fromNow"], one["notifyFrom"], one["imapIndexer"]) for one in asked] == [
        (True, None, None),
        (True, None, None),
        (False, "2026-11-01T10:00:00Z", "fast"),
        (False, None, None),
    ]
    assert len({one["flushId"] for one in asked}) == 4


async def test_a_flush_beside_another_one_is_429(client: httpx.AsyncClient, owner: ScriptedOwner, account: str) -> None:
    owner.answers["flush"] = Busy("Another account is being flushed, try again", code="LockFail", ttl=12)
    refused = await client.put(f"/v1/account/{account}/flush", json={"flush": True})
    assert refused.status_code == 429
    assert refused.json() == {
        "statusCode": 429,
        "error": "Too Many Requests",
        "message": "Another account is being flushed, try again",
        "code": "LockFail",
        "ttl": 12,
    }


async def test_what_can_not_be_flushed_is_refused(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    assert (await client.put("/v1/account/nobody/flush", json={"flush": True})).status_code == 404
    wrong = await client.put(f"/v1/account/{account}/flush", json={"flush": True, "imapIndexer": "slow", "x": 1})
    assert wrong.status_code == 400
    assert {one["key"] for one in wrong.json()["fields"]} == {"imapIndexer", "x"}
    assert owner.asked == []
