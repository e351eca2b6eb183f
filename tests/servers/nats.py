"""NATS with JetStream, as the product runs it: every acknowledged message is on disk (`sync_interval: always`)."""

from collections.abc import Sequence
from pathlib import Path

from tests.servers.ports import HOST, free_port
from tests.servers.process import ServerProcess, bundled_program, greeting

MAX_PAYLOAD = 8 * 1024 * 1024  # bytes, the product's own limit


class NatsServer(ServerProcess):
    """A nats-server with JetStream in a directory of its own.

    `extra_config` is appended to the configuration, for example `authorization { ... }`. The parser wants spaces
    inside braces: `{a:b,c:d}` is read as one bad field. `store`: a directory that another server left behind.
    """

    name = "nats"

    def __init__(self, extra_config: str = "", *, store: Path | None = None) -> None:
        super().__init__(free_port())
        self._store = store or self.directory / "jetstream"
        self._extra_config = extra_config

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"nats://{HOST}:{self.port}"

    def command(self) -> Sequence[str | Path]:
        """Write the configuration; return the command that reads it."""
        config = self.directory / "nats.conf"
        config.write_text(
            f"listen: {HOST}:{self.port}\n"
            f"max_payload: {MAX_PAYLOAD}\n"
            f'jetstream {{ store_dir: "{self._store}", sync_interval: always, max_file_store: 1TB }}\n'
            f"{self._extra_config}\n"
        )
        return [bundled_program("nats-server"), "--config", config]

    def ready(self) -> bool:
        """NATS greets with INFO, which tells whether JetStream is on."""
        return b'"jetstream":true' in greeting(self.port)
