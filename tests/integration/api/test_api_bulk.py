"""Contract, section 10: requests that change all messages a search finds, with the owner's side scripted."""

from typing import Any

import httpx
import pytest

from postbus.common import errors
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

BASE = "/v1/account/example/messages"


async def test_search_and_change_reach_the_owner(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["update-messages"] = b'{"flags":{"add":true}}'
    body = {"search": {"unseen": True, "from": "ann"}, "update": {"flags": {"add": "\\Seen"}}}
    answer = await client.put(f"{BASE}?path=INBOX", json=body)
    assert (answer.status_code, answer.json()) == (200, {"flags": {"add": True}})
    ((operation, command),) = owner.asked
    assert (operation, command["path"], command["labels"]) == ("update-messages", "INBOX", None)
    assert (command["search"]["unseen"], command["search"]["from"]) == (True, "ann")
    assert command["flags"] == {"add": ["\\Seen"], "delete": [], "set": None}


async def test_a_move_has_a_source_and_a_target(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["move-messages"] = b'{"path":"Archive","idMap":[["a","b"]]}'
    answer = await client.put(f"{BASE}/move?path=INBOX", json={"search": {}, "path": "Archive"})
    assert answer.json() == {"path": "Archive", "idMap": [["a", "b"]]}
    ((operation, command),) = owner.asked
    assert (operation, command["path"], command["target"]) == ("move-messages", "INBOX", "Archive")


@pytest.mark.parametrize(("query", "force"), [("", False), ("&force=true", True)])
async def test_a_bulk_deletion_is_forced_only_when_asked(
    client: httpx.AsyncClient, owner: ScriptedOwner, query: str, force: bool
) -> None:
    await client.put(f"{BASE}/delete?path=Trash{query}", json={"search": {"seen": True}})
    ((operation, command),) = owner.asked
    assert (operation, command["path"], command["force"]) == ("delete-messages", "Trash", force)


@pytest.mark.parametrize(
    "search",
    [
        {"from": ""},
        {"subject": "", "body": ""},
        {"emailIds": []},
        {"unseen": True, "emailIds": []},
        {"header": {}},
        {"labels": {}},
        {"labels": {"has": [""]}},
        {"uid": ""},
    ],
)
@pytest.mark.parametrize("place", ["", "/move", "/delete"])
async def test_a_search_for_nothing_is_no_search_for_all(
    client: httpx.AsyncClient, owner: ScriptedOwner, place: str, search: dict[str, Any]
) -> None:
    body = {"search": search, **({"path": "x"} if place == "/move" else {})}
    answer = await client.put(f"{BASE}{place}?path=INBOX", json=body)
    assert (answer.status_code, [field["key"] for field in answer.json()["fields"]]) == (400, ["search"])
    assert owner.asked == []


@pytest.mark.parametrize("search", [{"seen": False}, {"larger": 0}, {"header": {"X": ""}}, {"labels": {"not": "x"}}])
async def test_a_term_that_is_false_or_zero_is_one(
    client: httpx.AsyncClient, owner: ScriptedOwner, search: dict[str, Any]
) -> None:
    assert (await client.put(f"{BASE}/delete?path=INBOX", json={"search": search})).status_code == 200
    assert len(owner.asked) == 1


async def test_bulk_requests_need_a_mailbox_and_a_search(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        (f"{BASE}/delete", {"search": {}}, "path"),
        (f"{BASE}/delete?path=x", {}, "search"),
    ]
    for url, body, key in cases:
        answer = await client.put(url, json=body)
        assert (answer.status_code, [field["key"] for field in answer.json()["fields"]]) == (400, [key])
    assert owner.asked == []


async def test_what_a_server_can_not_search_for_is_422(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["delete-messages"] = errors.NotSupported("no")
    answer = await client.put(f"{BASE}/delete?path=INBOX", json={"search": {"gmailRaw": "x"}})
    assert answer.status_code == 422
