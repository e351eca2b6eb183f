"""A whole Postbus as a user runs it: `postbus up` in a directory of its own, to start, stop, and kill without mercy."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from tests.mailserver import MailServer
from tests.servers.ports import HOST, free_port
from tests.servers.process import bundled_program, is_running

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 40.0
KILL_TIMEOUT_S = 10.0
POLL_S = 0.05
LOG_TAIL_LINES = 40


class RunningPostbus:
    """One data directory and the processes that serve it. A context manager; `client` speaks to its API."""

    def __init__(self, *options: str, env: Mapping[str, str] | None = None) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="postbus-", ignore_cleanup_errors=True)
        self.directory = Path(self._directory.name)
        self.data = self.directory / "data"
        self.port = free_port()
        self.log_file = self.directory / "postbus.log"
        self.url = f"http://{HOST}:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30)
        self._options = options
        self._env = dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def start(self) -> Self:
        """Start and wait until `/health` is well; RuntimeError with the end of the log otherwise."""
        assert self._process is None, "it runs already"
        env = {name: value for name, value in os.environ.items() if not name.startswith(("EENGINE_", "VAULT_"))}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [bundled_program("postbus"), "up", "--api.port", str(self.port), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=env | {"EENGINE_WORKERS": "2"} | self._env | {"EENGINE_DATA_DIR": str(self.data)},
                start_new_session=True,
            )
        self._wait_until_well()
        return self

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_TIMEOUT_S)

    def kill_everything(self) -> int:
        """SIGKILL for every process: supervisor, services, NATS, Valkey. Returns how many there were."""
        assert self._process is not None
        process, self._process = self._process, None
        pids = list(process_tree(process.pid))
        for pid in pids:
            _kill(pid)
        process.wait()
        deadline = time.monotonic() + KILL_TIMEOUT_S
        while left := [pid for pid in pids if is_running(pid)]:
            assert time.monotonic() < deadline, f"{left} live on"
            time.sleep(POLL_S)
        return len(pids)

    def log_tail(self) -> str:
        """The end of what all processes logged."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def add_account(self, account: str, address: str, mail: MailServer, **more: Any) -> None:
        """Register an address of the test mail server."""
        login = {"user": address, "pass": mail.info["password"]}
        body = {
            "account": account,
            "name": account,
            "email": address,
            "imap": {"host": HOST, "port": mail.info["imap"], "secure": False, "auth": login} | _TRUST_ANY,
            "smtp": {"host": HOST, "port": mail.info["submission"], "secure": False, "auth": login} | _TRUST_ANY,
        }
        answer = self.client.post("/v1/account", json=body | more)
        assert answer.status_code == 200, answer.text

    def wait_connected(self, account: str, timeout: float = 20.0) -> None:
        """Return once the account is connected."""
        deadline = time.monotonic() + timeout
        while (seen := self.client.get(f"/v1/account/{account}").json()).get("state") != "connected":
            assert time.monotonic() < deadline, f"{seen}\n{self.log_tail()}"
            time.sleep(POLL_S)

    def set(self, **settings: Any) -> None:
        """Change settings."""
        answer = self.client.post("/v1/settings", json=settings)
        assert answer.status_code == 200, answer.text

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill_everything()
        self.client.close()
        self._directory.cleanup()

    def _wait_until_well(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_well():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postbus up did not get well:\n{self.log_tail()}")
            time.sleep(POLL_S)

    def _is_well(self) -> bool:
        try:
            return self.client.get("/health").status_code == 200
        except httpx.TransportError:
            return False


_TRUST_ANY = {"tls": {"rejectUnauthorized": False}}


def process_tree(pid: int) -> Iterator[int]:
    """The process and all its descendants, by id."""
    yield pid
    try:
        children = " ".join(task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/children"))
    except OSError:
        return
    for child in children.split():
        yield from process_tree(int(child))


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
