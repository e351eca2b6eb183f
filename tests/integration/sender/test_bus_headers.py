"""Headers of bus messages are text, also where a mail parser is installed that the client library would pick up."""

import asyncio

import pytest
from nats.aio.msg import Msg

from postbus.common.bus.connection import BusAddress, connect_bus

pytestmark = pytest.mark.anyio


async def test_header_values_are_text_and_not_decoded_as_mail(nats_url: str) -> None:
    bus = await connect_bus(BusAddress(nats_url), service="test")
    got: asyncio.Queue[Msg] = asyncio.Queue()
    await bus.nc.subscribe("x", cb=got.put)
    await bus.nc.publish("x", b"", headers={"A": "=?utf-8?q?=41?="})
    async with asyncio.timeout(5):
        assert (await got.get()).headers == {"A": "=?utf-8?q?=41?="}
    await bus.close()
