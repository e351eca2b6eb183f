"""Contract, section 10: requests that change messages, with the owner's side of the bus scripted."""

from typing import Any

import httpx
import pytest

from postbus.common import errors, ids
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

MESSAGE = str(ids.MessageId(1, 481))
URL = f"/v1/account/example/message/{MESSAGE}"
NO_CHANGE: dict[str, Any] = {"add": [], "delete": [], "set": None}


async def test_flags_and_labels_reach_the_owner_and_his_answer_comes_back(
    client: httpx.AsyncClient, owner: ScriptedOwner
) -> None:
    owner.answers["update-message"] = b'{"flags":{"add":true}}'
    body = {"flags": {"add": "\\Seen", "delete": ["a", "b"]}, "labels": {"set": []}}
    answer = await client.put(URL, json=body)
    assert (answer.status_code, answer.json()) == (200, {"flags": {"add": True}})
    flags = {**NO_CHANGE, "add": ["\\Seen"], "delete": ["a", "b"]}
    command = {"account": "example", "message": MESSAGE, "flags": flags, "labels": {**NO_CHANGE, "set": []}}
    assert owner.asked == [("update-message", command)]


async def test_a_move_names_its_target(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["move-message"] = b'{"path":"Archive"}'
    answer = await client.put(f"{URL}/move", json={"path": "\\Archive", "source": "INBOX"})
    assert (answer.status_code, answer.json()) == (200, {"path": "Archive"})
    assert owner.asked == [("move-message", {"account": "example", "message": MESSAGE, "path": "\\Archive"})]


@pytest.mark.parametrize(("query", "force"), [("", False), ("?force=true", True), ("?force=N", False)])
async def test_a_deletion_is_forced_only_when_asked(
    client: httpx.AsyncClient, owner: ScriptedOwner, query: str, force: bool
) -> None:
    owner.answers["delete-message"] = b'{"deleted":true}'
    assert (await client.delete(URL + query)).json() == {"deleted": True}
    assert owner.asked == [("delete-message", {"account": "example", "message": MESSAGE, "force": force})]


@pytest.mark.parametrize("code", ["TRYCREATE", "OVERQUOTA", "ALREADYEXISTS"])
async def test_the_servers_refusal_reaches_the_caller(
    client: httpx.AsyncClient, owner: ScriptedOwner, code: str
) -> None:
    owner.answers["move-message"] = errors.CommandRefused("no", server_code=code)
    answer = await client.put(f"{URL}/move", json={"path": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"flags": {"add": ["x" * 129]}}, "flags.add.0"),
        ({"flags": {"add": [""]}}, "flags.add.0"),
        ({"flags": {"add": ["a\r\nb"]}}, "flags.add.0"),
        ({"flags": {"add": 7}}, "flags.add"),
        ({"flags": {"other": []}}, "flags.other"),
        ({"flags": None}, "flags"),
        ({"flag": {}}, "flag"),
    ],
)
async def test_a_wrong_change_is_refused_with_its_place(
    client: httpx.AsyncClient, owner: ScriptedOwner, body: Any, key: str
) -> None:
    answer = await client.put(URL, json=body)
    assert (answer.status_code, [field["key"] for field in answer.json()["fields"]]) == (400, [key])
    assert owner.asked == []


async def test_ids_that_can_be_none_are_not_found(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    for method, path, body in (("PUT", "", {}), ("PUT", "/move", {"path": "x"}), ("DELETE", "", None)):
        answer = await client.request(method, f"/v1/account/example/message/nonsense{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "MessageNotFound")
    assert owner.asked == []
