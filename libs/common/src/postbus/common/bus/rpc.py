"""Commands by request and reply: a deadline each, errors as they were raised, trace context along.

A command that nobody took (no responders, or an explicit "not the owner") is tried again while the deadline and a
takeover allow; one that may have been executed never is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import BaseModel

from postbus.common import errors, telemetry
from postbus.common.bus.connection import Bus
from postbus.common.errors import DeadlineExceeded, PostbusError, Unavailable

log = structlog.get_logger()

DEADLINE_HEADER = "Ee-Deadline"  # seconds that are left, as the caller saw it
ERROR_HEADER = "Ee-Error"  # the class of the error; the payload is its JSON
TAKEOVER_S = 6.0  # two lease times: nobody owns the account for longer than that
RETRY_STEPS_S = (0.05, 0.1, 0.2, 0.4)
DEFAULT_DEADLINE_S = 10.0
MAX_DEADLINE_S = 7200.0

_MORE = frozenset({"fields", "status", "server_code"})  # what BadInput and CommandRefused know beyond the others

Handler = Callable[[bytes], Awaitable[bytes]]
Guarded = Callable[[Msg, float], Awaitable[None]]
WhenUnowned = Callable[[], Awaitable[None]]


class NotOwner(PostbusError):
    """The account moved on; nothing was executed."""

    code = "WorkerNotAvailable"
    retriable = True


async def call(
    bus: Bus, subject: str, request: BaseModel, *, deadline_s: float, when_unowned: WhenUnowned | None = None
) -> bytes:
    """Send a command and return its answer.

    Raises what the other side raised; DeadlineExceeded after `deadline_s`; Unavailable when nobody takes it.
    `when_unowned` runs once, before the first wait for an owner, and may end the call by raising.
    """
    payload = request.model_dump_json(by_alias=True).encode()
    started = time.monotonic()
    for attempt in range(1_000_000):
        left = deadline_s - (time.monotonic() - started)
        if left <= 0:
            raise DeadlineExceeded("Timeout")
        try:
            return await _call_once(bus, subject, payload, left)
        except NotOwner as error:
            if when_unowned is not None and attempt == 0:
                await when_unowned()
            waited = time.monotonic() - started
            if waited > TAKEOVER_S:
                raise no_worker() from error
            await asyncio.sleep(min(RETRY_STEPS_S[min(attempt, len(RETRY_STEPS_S) - 1)], max(left, 0)))
    raise AssertionError("unreachable")


async def serve(bus: Bus, subject: str, handlers: Mapping[str, Handler], *, queue: str = "") -> Subscription:
    """Answer commands on `<subject>.<op>`; each runs as its own task, until its deadline."""

    async def answer(message: Msg, left: float) -> None:
        handler = handlers.get(message.subject.rsplit(".", 1)[-1])
        if handler is None:
            raise NotOwner("unknown operation")
        async with asyncio.timeout(left):
            await message.respond(await handler(message.data))

    return await serve_messages(bus, f"{subject}.*", answer, queue=queue)


async def serve_messages(bus: Bus, subject: str, answer: Guarded, *, queue: str = "") -> Subscription:
    """Run `answer(message, seconds left)` for each request; what it raises becomes the reply."""
    running: set[asyncio.Task[None]] = set()

    async def on_message(message: Msg) -> None:
        task = asyncio.create_task(_guard(message, answer))
        running.add(task)
        task.add_done_callback(running.discard)

    return await bus.nc.subscribe(subject, queue=queue, cb=on_message)


def no_worker() -> Unavailable:
    """The error for an account that nobody owns for longer than a takeover lasts."""
    return Unavailable("No worker is ready for this account", code="WorkerNotAvailable")


def error_reply(error: PostbusError) -> tuple[bytes, dict[str, str]]:
    """An error as payload and headers of a reply: as the nearest class of the common tree."""
    body: dict[str, Any] = {"message": error.message, "code": error.code, "details": error.details}
    body["more"] = {name: value for name, value in vars(error).items() if name in _MORE}
    known = next(kind.__name__ for kind in type(error).__mro__ if kind is NotOwner or hasattr(errors, kind.__name__))
    return json.dumps(body, default=str).encode(), {ERROR_HEADER: known}


def raise_error_reply(message: Msg) -> None:
    """Raise the error a reply holds, if it holds one."""
    name = (message.headers or {}).get(ERROR_HEADER)
    if name is None:
        return
    body = json.loads(message.data)
    if name == NotOwner.__name__:
        raise NotOwner(body["message"])
    kind = getattr(errors, name, PostbusError)
    error = PostbusError.__new__(kind)
    Exception.__init__(error, body["message"])
    error.message, error.code, error.details = body["message"], body["code"], body["details"]
    for field in _MORE & body.get("more", {}).keys():
        setattr(error, field, body["more"][field])
    raise error


async def _call_once(bus: Bus, subject: str, payload: bytes, left: float) -> bytes:
    headers = {DEADLINE_HEADER: f"{left:.3f}", **telemetry.inject()}
    try:
        reply = await bus.nc.request(subject, payload, timeout=left, headers=headers)
    except nats.errors.NoRespondersError as error:
        raise NotOwner("nobody listens") from error
    except (nats.errors.TimeoutError, TimeoutError) as error:
        raise DeadlineExceeded("Timeout") from error
    except nats.errors.Error as error:
        raise Unavailable(f"bus: {error}", code="BusUnavailable") from error
    raise_error_reply(reply)
    return bytes(reply.data)


async def _guard(message: Msg, answer: Guarded) -> None:
    """Run one command; every failure is answered, and one nobody expected is logged with its traceback."""
    headers = message.headers or {}
    try:
        left = min(float(headers.get(DEADLINE_HEADER, DEFAULT_DEADLINE_S)), MAX_DEADLINE_S)
        with telemetry.span(f"command {message.subject.rsplit('.', 1)[-1]}", parent=headers):
            await answer(message, left)
        return
    except TimeoutError:
        failure: PostbusError = DeadlineExceeded("Timeout")
    except PostbusError as error:
        failure = error
    except Exception:
        log.exception("command failed", operation=message.subject.rsplit(".", 1)[-1])
        failure = PostbusError("Internal error")
    payload, reply_headers = error_reply(failure)
    try:
        await bus_respond(message, payload, reply_headers)
    except nats.errors.Error as error:
        log.debug("reply not sent", error=str(error))


async def bus_respond(message: Msg, payload: bytes, headers: dict[str, str]) -> None:
    """Reply with headers of our own: `Msg.respond` would send the request's back."""
    if message.reply:
        await message._client.publish(message.reply, payload, headers=headers)
