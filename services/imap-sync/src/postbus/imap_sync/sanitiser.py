"""HTML is rendered in other processes: a parser that hangs or dies costs one message its HTML, and nothing else.

They start when there is something to do and end when there was nothing for a while: an idle system has none.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec
import structlog

from postbus.common import metrics
from postbus.imap_sync.html.process import MAX_FRAME, compose_frame
from postbus.imap_sync.html.rendering import Job, Rendered, render_text

log = structlog.get_logger()

MODULE: Final = "postbus.imap_sync.html.process"
MAX_AT_ONCE: Final = 64 * 1024  # characters of text that are escaped on the event loop: some milliseconds
MAX_WITHOUT: Final = 1024 * 1024  # characters that are told of a message that could not be rendered
ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH")  # no more: it holds secrets

_encode: Final = msgspec.msgpack.Encoder().encode


class Outcome(StrEnum):
    """What became of a message, as `/metrics` counts it."""

    RENDERED = "rendered"
    BUSY = "busy"  # too much was waiting, or it waited too long
    SLOW = "slow"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one worker. Seconds, where nothing else is said."""

    processes: int = 2
    job_s: float = 5.0  # the longest newsletter takes 50 ms
    idle_s: float = 30.0
    waiting_size: int = 48 * 1024 * 1024  # bytes of all that is rendered or waits for it


class Sanitiser:
    """Renders HTML. It never raises: what can't be rendered is told as text."""

    def __init__(self, limits: Limits | None = None, *, argv: tuple[str, ...] | None = None) -> None:
        self._limits = limits or Limits()
        self._argv = argv or (sys.executable, "-P", "-m", MODULE)
        self._turns = asyncio.Semaphore(self._limits.processes)
        self._idle: list[_Process] = []
        self._expiry: asyncio.TimerHandle | None = None
        self._size = 0
        self._ending: set[asyncio.Task[None]] = set()
        self.processes = 0

    async def render(self, job: Job, *, limit_s: float) -> Rendered:
        """The HTML of one message; waits and works for `limit_s` at most. Then, and when all fails, its text."""
        if job.html is None and len(job.plain or "") <= MAX_AT_ONCE:  # nothing to parse
            return render_text(job)
        rendered, outcome = await self._try(job, limit_s)
        metrics.RENDERED_HTML.labels(outcome).inc()
        if rendered is None:
            log.warning("html not rendered", reason=outcome.value, size=len(job.html or ""))
            return await render_without(job)
        return rendered

    async def close(self) -> None:
        """End the processes; what they are at is lost."""
        if self._expiry is not None:
            self._expiry.cancel()
        while self._idle:
            self._end(self._idle.pop())
        while self._ending:
            await asyncio.wait(self._ending)

    async def _try(self, job: Job, limit_s: float) -> tuple[Rendered | None, Outcome]:
        frame = _encode(job)
        if self._size + len(frame) > self._limits.waiting_size or len(frame) > MAX_FRAME:
            return None, Outcome.BUSY
        self._size += len(frame)
        try:
            return await self._in_turn(compose_frame(frame), limit_s)
        finally:
            self._size -= len(frame)

    async def _in_turn(self, frame: bytes, limit_s: float) -> tuple[Rendered | None, Outcome]:
        """Half of the time may go by waiting, so that what begins can also end."""
        try:
            async with asyncio.timeout(limit_s / 2):
                await self._turns.acquire()
        except TimeoutError:
            return None, Outcome.BUSY
        try:
            async with asyncio.timeout(min(limit_s / 2, self._limits.job_s)):
                return await self._work(frame), Outcome.RENDERED
        except TimeoutError:
            return None, Outcome.SLOW
        except (OSError, EOFError, ValueError, msgspec.DecodeError):
            return None, Outcome.CRASHED
        finally:
            self._turns.release()

    async def _work(self, frame: bytes) -> Rendered:
        """Have a process render it. One that does not give an answer is ended: it may be anywhere."""
        process = self._take_idle() or await self._start()
        try:
            rendered = await process.ask(frame)
        except BaseException:
            self._end(process)
            raise
        if rendered.worn:
            self._end(process)
        else:
            self._keep(process)
        return rendered

    def _take_idle(self) -> _Process | None:
        """The one that was used last; those that died meanwhile are forgotten."""
        while self._idle:
            process = self._idle.pop()
            if process.alive:
                return process
            self._end(process)
        return None

    async def _start(self) -> _Process:
        child = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=_environment(os.environ),
        )
        self.processes += 1
        return _Process(child)

    def _keep(self, process: _Process) -> None:
        loop = asyncio.get_running_loop()
        process.used_at = loop.time()
        self._idle.append(process)
        if self._expiry is None:
            self._expiry = loop.call_later(self._limits.idle_s, self._expire)

    def _expire(self) -> None:
        """End what was not used for long, and look again when the next one can be due."""
        loop = asyncio.get_running_loop()
        due = loop.time() - self._limits.idle_s
        while self._idle and self._idle[0].used_at <= due:
            self._end(self._idle.pop(0))
        busy = self.processes - len(self._idle)
        self._expiry = loop.call_later(self._limits.idle_s, self._expire) if self._idle or busy else None

    def _end(self, process: _Process) -> None:
        task = asyncio.ensure_future(self._reap(process))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _reap(self, process: _Process) -> None:
        await process.end()
        self.processes -= 1


async def render_without(job: Job) -> Rendered:
    """What is told where no process can be asked: the text as HTML; where nothing safe was asked for, all as it is."""
    if not job.safe:
        return Rendered(job.html or "")
    size = max(len(job.html or ""), len(job.plain or ""))
    if size <= MAX_AT_ONCE:
        return render_text(job)
    html, plain = job.html and job.html[:MAX_WITHOUT], job.plain and job.plain[:MAX_WITHOUT]
    rendered = await asyncio.to_thread(render_text, Job(html, plain, [], True, job.max_size))
    return Rendered(rendered.html, rendered.cut or size > MAX_WITHOUT)


class _Process:
    """One process, which is asked for one thing at a time."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        assert child.stdin is not None and child.stdout is not None
        self._child = child
        self._stdin, self._stdout = child.stdin, child.stdout
        self.used_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether it is there, as far as is known."""
        return self._child.returncode is None

    async def ask(self, frame: bytes) -> Rendered:
        """Its answer. EOFError and OSError where it is dead or dies; ValueError for what is no answer."""
        self._stdin.write(frame)
        await self._stdin.drain()
        size = int.from_bytes(await self._stdout.readexactly(4))
        if size > MAX_FRAME:
            raise ValueError("the answer is too large")
        return msgspec.msgpack.decode(await self._stdout.readexactly(size), type=Rendered)

    async def end(self) -> None:
        """Kill it, and wait until it is gone."""
        with suppress(ProcessLookupError):
            self._child.kill()
        self._stdin.close()
        await self._child.wait()


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in ENVIRONMENT if name in environment}
