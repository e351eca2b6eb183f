"""Statistics, health and metrics (contract, section 30)."""

from __future__ import annotations

import platform
import time
from collections import Counter
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from postbus.api.document import errors_of
from postbus.api.gather import gather_metrics
from postbus.api.health import HealthChecks
from postbus.api.requests import DeadlineS, PartsOf
from postbus.api.schemas.system import Health, Stats, StatsQuery, Unhealthy
from postbus.common.accounts import AccountState
from postbus.common.service import Parts
from postbus.common.store.client import store_errors
from postbus.common.store.stats import read_stats
from postbus.common.version import __version__

router = APIRouter(tags=["Stats"])

LICENSE = "AGPL-3.0-or-later"
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Prometheus text", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/v1/stats", summary="Read statistics", response_model=Stats, responses=errors_of(400, 401, 500, 503))
async def read_statistics(query: Annotated[StatsQuery, Query()], parts: PartsOf, deadline_s: DeadlineS) -> Response:
    """What this installation is, how its accounts are, and what happened lately."""
    accounts = await parts.accounts.ids()
    states = Counter(state for state in await parts.accounts.states(accounts) if state is not None)
    body = {
        "version": __version__,
        "license": LICENSE,
        "accounts": states.total(),
        "node": f"Python {platform.python_version()}",
        **await _store_facts(parts),
        "arch": platform.machine(),
        "connections": {state.value: states[state] for state in AccountState if states[state]},
        "counters": await read_stats(parts.redis, query.seconds),
    }
    return Response(orjson.dumps(body), media_type="application/json")


@router.get(
    "/health",
    summary="Can it work?",
    response_model=Health,
    responses={500: {"model": Unhealthy, "description": "A part is missing"}},
    openapi_extra={"security": []},
)
async def health(request: Request) -> Response:
    """Whether store, bus, keys and workers are there; for load balancers and orchestrators, without a login."""
    checks: HealthChecks = request.app.state.health
    report = await checks.report()
    if not report.reasons:
        body = Health(warnings=report.warnings)
        return Response(body.model_dump_json(by_alias=True), media_type="application/json")
    answer = Unhealthy(message="This service can't work now", reasons=report.reasons, warnings=report.warnings)
    return Response(answer.model_dump_json(by_alias=True), 500, media_type="application/json")


@router.get("/metrics", summary="Read metrics", response_class=Response, responses=_TEXT | errors_of(401))
async def read_metrics(parts: PartsOf) -> Response:
    """Metrics of all services, summed up, as Prometheus reads them."""
    return Response(await gather_metrics(parts.bus), headers={"content-type": METRICS_TYPE})


async def _store_facts(parts: Parts) -> dict[str, Any]:
    async with store_errors():
        started = time.perf_counter()
        await parts.redis.ping()
        ping = (time.perf_counter() - started) * 1000
        server = await parts.redis.info("server")
    software = str(server.get("server_name") or "redis")
    version = server.get(f"{software}_version") or server.get("redis_version") or "unknown"
    mode = server.get("redis_mode") or server.get("server_mode")
    return {
        "redis": str(version),
        "redisSoftware": software,
        "redisCluster": mode == "cluster",
        "redisPing": round(ping, 3),
    }
