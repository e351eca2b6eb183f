"""Contract, sections 11 and 31: the proxy and the local address that a message asks for."""

import httpx
import pytest

from postbus.common.jobs import send_subject, unpack_submission
from postbus.common.network import load_proxy
from postbus.common.service import Parts

pytestmark = pytest.mark.anyio

MESSAGE = {"to": [{"address": "andris@example.com"}], "text": "Hello"}
URL = "socks5://anna:s3cret@proxy.test:1080"


async def test_the_proxy_of_a_message_is_kept_sealed(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    body = {**MESSAGE, "proxy": URL, "localAddress": " 192.0.2.1 "}
    answer = await client.post(f"/v1/account/{account}/submit", json=body)
    assert answer.status_code == 200, answer.text
    stored = (await parts.bus.js.get_last_msg("JOBS", send_subject("example", answer.json()["queueId"]))).data or b""
    assert b"s3cret" not in stored and b"proxy.test" not in stored
    submission, _ = unpack_submission(stored)
    assert submission.local_address == "192.0.2.1" and submission.proxy is not None
    proxy = await load_proxy(parts, await parts.accounts.get(account), asked=submission.proxy)
    assert proxy is not None and (proxy.shown, proxy.password) == ("socks5://proxy.test:1080", "s3cret")


async def test_ways_that_are_none_are_refused(client: httpx.AsyncClient, account: str) -> None:
    for wrong in ({"proxy": "ftp://h"}, {"proxy": "http://u:******@h"}, {"localAddress": "localhost"}):
        answer = await client.post(f"/v1/account/{account}/submit", json={**MESSAGE, **wrong})
        assert (answer.status_code, [one["key"] for one in answer.json()["fields"]]) == (400, list(wrong))
        assert "******" not in answer.text
