"""The supervisor tells a person when the API answers, and whether all is well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postbus.cli.supervisor import front
from postbus.common.config import Config, load_config

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def answering(tmp_path: Path, *answers: bytes) -> AsyncIterator[tuple[Config, list[bytes]]]:
    """A listener that gives these answers in turn, the last one for ever; the configuration that leads to it."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[min(len(asked), len(answers)) - 1])
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield load_config(["--api.port", str(port), "--api.auth", "user:word"], {}, tmp_path), asked


async def test_it_waits_until_all_is_well(tmp_path: Path) -> None:
    async with answering(tmp_path, b"", b"HTTP/1.1 500 x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n") as (config, asked):
        assert await front.wait_for_api(config)
        assert len(asked) == 3
        assert b"GET /health HTTP/1.1\r\n" in asked[0]
        assert b"Authorization: Basic dXNlcjp3b3Jk\r\n" in asked[0]


async def test_an_api_that_is_not_well_for_long_is_told_of_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "WELL_S", 0.05)
    async with answering(tmp_path, b"HTTP/1.1 500 x\r\n\r\n") as (config, _):
        assert not await front.wait_for_api(config)


async def test_what_is_no_http_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "WELL_S", 0.0)
    async with answering(tmp_path, b"* OK IMAP4rev1\r\n", b"HTTP/1.1 200 OK\r\n\r\n") as (config, asked):
        assert await front.wait_for_api(config)
        assert len(asked) == 2
