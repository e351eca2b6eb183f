"""`PUT /v1/account/{account}/sync`: who is asked, and what is answered."""

import httpx
import pytest

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
