"""What a person sees of a start: where everything is, once the API answers."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import socket
import time
from pathlib import Path

from postbus.common.config import Config, ConfigError

POLL_S = 0.02
ANSWER_TIMEOUT_S = 2.0
WELL_S = 10.0  # patience with an API that answers that something is missing: an outside server, keys


def reachable_host(host: str) -> str:
    """The address to reach a listener at: loopback, where it listens on all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return host


def base_url(config: Config) -> str:
    """Where the API is."""
    host = reachable_host(config.host)
    return f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"


def draw_port(host: str) -> int:
    """A free port, for `--api.port 0`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def check_ports(config: Config) -> None:
    """ConfigError when somebody else listens where the API, or the SMTP submission server, is to listen."""
    _check_port("the API", config.host, config.port, "EENGINE_HOST and EENGINE_PORT")
    if runs_submission(config):
        _check_port(
            "the SMTP submission server", config.smtp_host, config.smtp_port, "EENGINE_SMTP_HOST and EENGINE_SMTP_PORT"
        )


def runs_submission(config: Config) -> bool:
    """Whether the configuration makes the sender listen for SMTP."""
    return config.smtp_secret is not None and config.smtp_enabled is not False


def _check_port(what: str, host: str, port: int, variables: str) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in {(entry[0], entry[4]) for entry in found}:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = f"choose another address or port with {variables}"
        raise ConfigError([f"{what} can't listen on {host}, port {port}: {reason}; {hint}"]) from error


async def wait_for_api(config: Config) -> bool:
    """Return True once `/health` answers 200, False when it answers and does not become well for a while."""
    patience = asyncio.get_running_loop().time() + WELL_S
    while True:
        status = await _ask_health(config)
        if status == b"200" or (status and asyncio.get_running_loop().time() > patience):
            return status == b"200"
        await asyncio.sleep(POLL_S)


def authorization(config: Config) -> dict[str, str]:
    """The header that `EENGINE_AUTH` asks for, where it is set."""
    if config.auth is None:
        return {}
    word = f"{config.auth.user}:{config.auth.password.get_secret_value()}"
    return {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}


def age_of_process() -> float:
    """Seconds since this process began, its loading of code included (proc(5), field 22)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def compose_banner(config: Config) -> str:
    """The lines to print."""
    url = base_url(config)
    lines = [
        f"Postbus is ready ({age_of_process():.1f} s after its start)",
        f"  API   {url}/v1",
        f"  docs  {url}/docs",
        f"  SMTP  {_submission_address(config)}" if runs_submission(config) else "",
        f"  data  {config.data_dir.absolute()}",
    ]
    return "".join(f"{line}\n" for line in lines if line)


def _submission_address(config: Config) -> str:
    host = reachable_host(config.smtp_host)
    return f"[{host}]:{config.smtp_port}" if ":" in host else f"{host}:{config.smtp_port}"


async def _ask_health(config: Config) -> bytes:
    """The status of `/health`, empty where nobody answers. By hand: loading an HTTP client would take too long."""
    headers = {"Host": "localhost", "Connection": "close", **authorization(config)}
    lines = ["GET /health HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(reachable_host(config.host), config.port)
            try:
                writer.write("\r\n".join(lines).encode())
                status = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return b""
    return status.split(b" ")[1] if status.startswith(b"HTTP/") else b""
