"""Brings an instance up and down: directory, certificates, servers, proxies, control API."""

import json
import os
import queue
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mailserver.certificates import make_certificates
from tests.mailserver.control_api import control_routes
from tests.mailserver.dovecot import CONFIG, dovecot_binary, dovecot_files
from tests.mailserver.fault_proxy import FaultProxy, ProxyThread
from tests.mailserver.greylisting import GreylistPolicy, PolicyServer
from tests.mailserver.http_api import JsonServer
from tests.mailserver.instance import STATE_FILE, Site, is_root, make_site
from tests.mailserver.net import HOST, free_ports, wait_for_greeting
from tests.mailserver.oauth import OAuthProvider
from tests.mailserver.oauth_api import oauth_routes
from tests.mailserver.options import PORTS, Options
from tests.mailserver.postfix import postfix_defaults, write_postfix
from tests.mailserver.processes import Processes
from tests.mailserver.summary import instance_info

START_TRIES = 3  # a port that was free may be taken in between
START_TIMEOUT_S = 20.0
SERVICE_TIMEOUT_S = 30.0
LOG_TAIL_LINES = 8
LOOPBACK_ALIAS = "127.0.0.2"


@dataclass(frozen=True, slots=True)
class _Job:
    """Something an HTTP thread asks the main thread for."""

    name: str
    action: str
    done: "Future[None]"


class MailSystem:
    """One instance. `up`, then `work` now and then, then `down`; the last in any case."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.info: dict[str, Any] = {}
        self.policy = GreylistPolicy(options.greylist)
        self.wake_read, self._wake_write = os.pipe()
        self._oauth = OAuthProvider(secrets.token_bytes(32))
        self._postfix: dict[str, str] = {}
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._site: Site | None = None
        self._processes: Processes | None = None
        self._proxies: ProxyThread | None = None
        self._servers: list[JsonServer | PolicyServer] = []

    @property
    def site(self) -> Site:
        """Directory and ports."""
        assert self._site is not None, "not up"
        return self._site

    @property
    def processes(self) -> Processes:
        """The servers."""
        assert self._processes is not None, "not up"
        return self._processes

    @property
    def proxies(self) -> ProxyThread:
        """The fault proxies."""
        assert self._proxies is not None, "not up"
        return self._proxies

    def up(self) -> dict[str, Any]:
        """Start everything; what a client needs to know. RuntimeError with the ends of the logs when that fails."""
        started = time.monotonic()
        given = self.options.given_ports
        if self.options.mta != "none" and (self.options.mta == "postfix" or (is_root() and shutil.which("postconf"))):
            if not is_root():
                raise RuntimeError("postfix needs root; use --mta none")
            self._postfix = postfix_defaults()
        self._site = make_site(self.options)
        self._processes = Processes(self.site.directory, keep=self.options.keep)
        self._make_certificates()
        for left in reversed(range(START_TRIES)):
            try:
                self._start(given)
                break
            except (RuntimeError, OSError) as error:
                self._stop()
                if not left or "in use" not in f"{error}{self.tails()}":
                    raise RuntimeError(f"{error}\n{self.tails()}") from error
                shutil.rmtree(self.site.path("pf"), ignore_errors=True)
        started_in = round(time.monotonic() - started, 3)
        self.info |= {**instance_info(self.options, self.site, self._postfix), "started_in": started_in}
        self.site.write(STATE_FILE, json.dumps(self.info, indent=1) + "\n")
        return self.info

    def wake(self) -> None:
        """Make the reader of `wake_read` look; safe in a signal handler."""
        os.write(self._wake_write, b"x")

    def work(self) -> None:
        """Do in the main thread what HTTP threads asked for."""
        while not self._jobs.empty():
            job = self._jobs.get()
            try:
                self._do(job)
            except (RuntimeError, OSError) as error:
                job.done.set_exception(error)
            else:
                job.done.set_result(None)

    def service(self, name: str, action: str) -> None:
        """Stop, start or restart a server; waits for the main thread, which is the parent of all."""
        if name not in ("dovecot", "postfix") or action not in ("stop", "start", "restart"):
            raise ValueError(f"cannot {action} {name}")
        job = _Job(name, action, Future())
        self._jobs.put(job)
        self.wake()
        job.done.result(SERVICE_TIMEOUT_S)

    def doveadm(self, *arguments: str) -> tuple[int, str]:
        """Run doveadm: exit code and output."""
        return _run("doveadm", "-c", str(self.site.path(CONFIG)), *arguments)

    def postfix_tool(self, tool: str, *arguments: str) -> tuple[int, str]:
        """Run a command of Postfix: exit code and output."""
        path = Path(self._postfix["command_directory"], tool)
        return _run(str(path), "-c", str(self.site.path("pf", "etc")), *arguments)

    def tails(self) -> str:
        """The ends of the logs."""
        lines = []
        for name in ("dovecot.out", "dovecot.log", "postfix.out", "postfix.log"):
            if (path := self.site.path("log", name)).exists():
                tail = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
                lines += [f"[{name}] {line}" for line in tail]
        return "\n".join(lines)

    def down(self) -> None:
        """Stop everything and remove the directory, unless it is to be kept."""
        if self._site is None or self._processes is None:
            return
        self._stop()
        state = self.site.path(STATE_FILE)
        if not self.options.keep:
            self.site.remove()
        elif state.exists():
            state.rename(f"{state}.stopped")
        self._processes.dismiss_guard()

    def _make_certificates(self) -> None:
        make_certificates(self.site.path("tls"), self.options.cert)
        if is_root():
            self.site.path("tls", "server.key").chmod(0o640)

    def _start(self, given: dict[str, int]) -> None:
        """Start on these ports and free ones. Dovecot before Postfix: smtpd needs its auth socket at once."""
        missing = [name for name in PORTS if name not in given]
        self.site.ports = given | dict(zip(missing, free_ports(len(missing)), strict=True))
        ports = self.site.ports
        routes = {**control_routes(self), **oauth_routes(self._oauth)}
        self._serve(JsonServer((HOST, ports["http"]), routes, self.site.path("log", "http.log")))
        for name, text in dovecot_files(self.options, self.site, self._oauth.jwt_key).items():
            self.site.write(name, text)
        self._wait_for_dovecot(self._start_dovecot())
        if self._postfix:
            self._serve(PolicyServer((HOST, ports["policy"]), self.policy))
            write_postfix(self.options, self.site, self._postfix)
            alive = self._start_postfix()
        self._proxies = ProxyThread(self._planned_proxies())
        self._proxies.begin()
        if self._postfix:
            self._wait_for_postfix(alive)
        _run("sievec", "-c", str(self.site.path(CONFIG)), str(self.site.path("sieve", "before.sieve")))

    def _planned_proxies(self) -> list[FaultProxy]:
        ports = self.site.ports
        fronted = ("imap", "imaps", *(("submission", "submissions") if self._postfix else ()))
        proxies = [FaultProxy(name, ports[f"proxy_{name}"], ports[name]) for name in fronted]
        if self.options.fronted:
            # Dovecot takes a connection from its own address for a secure one; another one makes it insist on TLS.
            source = LOOPBACK_ALIAS if self.options.require_tls else None
            denied = self.options.dropped if self.options.strict else ()
            proxies.append(FaultProxy("strict", ports["strict_imap"], ports["imap"], denied=denied, source=source))
        return proxies

    def _serve(self, server: JsonServer | PolicyServer) -> None:
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()

    def _do(self, job: _Job) -> None:
        if job.action in ("stop", "restart"):
            self.processes.end(job.name)
        if job.action == "stop" or job.name in self.processes.names:
            return
        if job.name == "dovecot":
            self._wait_for_dovecot(self._start_dovecot())
        else:
            self._wait_for_postfix(self._start_postfix())

    def _start_dovecot(self) -> Callable[[], bool]:
        return self.processes.spawn("dovecot", [dovecot_binary(), "-F", "-c", str(self.site.path(CONFIG))])

    def _start_postfix(self) -> Callable[[], bool]:
        self.site.path("pf", "queue", "pid", "master.pid").unlink(missing_ok=True)
        master = Path(self._postfix["daemon_directory"], "master")
        return self.processes.spawn("postfix", [str(master), "-c", str(self.site.path("pf", "etc")), "-s"])

    def _wait_for_dovecot(self, alive: Callable[[], bool]) -> None:
        self._wait_for(alive, {"imap": b"* ", "lmtp": b"220"})

    def _wait_for_postfix(self, alive: Callable[[], bool]) -> None:
        self._wait_for(alive, {"submission": b"220", "mx": b"220"})

    def _wait_for(self, alive: Callable[[], bool], greetings: dict[str, bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        for name, prefix in greetings.items():
            wait_for_greeting(self.site.ports[name], prefix, deadline, alive)

    def _stop(self) -> None:
        self.processes.end_all()
        while self._servers:
            server = self._servers.pop()
            server.shutdown()
            server.server_close()
        if self._proxies:
            self._proxies.end()
            self._proxies = None


def _run(*command: str) -> tuple[int, str]:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr
