"""`PUT /v1/account/{account}/sync` and quotas: who is asked, and what is answered."""

import httpx
import pytest

from postbus.common.errors import AccountNotUsable
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio


async def test_a_sync_is_asked_of_the_owner_only_if_it_is_wanted(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    url = f"/v1/account/{account}/sync"
    assert (await client.put(url)).json() == {"sync": False}
    assert (await client.put(url, json={"sync": True})).json() == {"sync": True}
    assert [operation for operation, _ in owner.asked] == ["sync"]
    assert (await client.put("/v1/account/nobody/sync", json={"sync": True})).status_code == 404


async def test_the_quota_is_told_if_it_is_asked_for(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    url = f"/v1/account/{account}"
    assert "quota" not in (await client.get(url)).json()
    assert "quota" not in [operation for operation, _ in owner.asked]
    owner.answers["quota"] = b'{"usage":1,"limit":2,"status":"50%"}'
    assert (await client.get(url, params={"quota": True})).json()["quota"] == {"usage": 1, "limit": 2, "status": "50%"}
    owner.answers["quota"] = b"false"
    assert (await client.get(url, params={"quota": True})).json()["quota"] is False
    owner.answers["quota"] = AccountNotUsable("not connected")
    told = await client.get(url, params={"quota": True})
    assert (told.status_code, told.json()["quota"]) == (200, False)
