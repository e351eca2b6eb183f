"""The process that forks all others. It loads the code of the services once, before any loop or thread, so that they
share its memory; and it is the parent that the kernel ends its children with (PR_SET_PDEATHSIG, see prctl(2)).

The supervisor talks to it over a socket, a JSON object a line: `preload`, `start`, `signal`; back come `started` and
`ended`. Only its parent process can do so, and a child that is signalled can't have been replaced by a stranger, as
only the zygote reaps.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from postbus.common.config import Config

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_NAME = 15
MAX_LINE = 1024 * 1024  # bytes of one command
READ_SIZE = 65_536

_LIBC = ctypes.CDLL(None, use_errno=True)
_OURS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def fork_zygote(config: Config) -> tuple[int, socket.socket]:
    """Fork it, from a process without threads or event loop; its pid, and the supervisor's end of the socket."""
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        ours.close()
        _run(lambda: Zygote(theirs, config).run(parent))
    theirs.close()
    return pid, ours


def name_process(name: str) -> None:
    """What `top` and `ps -o comm` call this process: 15 characters of it."""
    _LIBC.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end now if that has happened already."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class Zygote:
    """Its only loop: commands from the socket, deaths from SIGCHLD."""

    def __init__(self, link: socket.socket, config: Config) -> None:
        self._link = link
        self._config = config
        self._keys: dict[int, str] = {}  # pid → key of every child not reaped yet
        self._buffer = b""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self, parent: int) -> None:
        """Serve until the supervisor is gone. In a session of its own, so that Ctrl-C reaches the supervisor alone."""
        os.setsid()
        die_with(parent)
        name_process("postbus-zygote")
        _detach_stdin()
        for number in _OURS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            readable, _, _ = select.select([self._link.fileno(), self._wake_read], [], [])
            self._reap()
            if self._link.fileno() in readable:
                for command in self._commands():
                    self._obey(command)

    def _commands(self) -> Iterator[dict[str, Any]]:
        data = self._link.recv(READ_SIZE)
        self._buffer += data
        if not data or len(self._buffer) > MAX_LINE:
            os._exit(0)
        *lines, self._buffer = self._buffer.split(b"\n")
        yield from (json.loads(line) for line in lines)

    def _obey(self, command: dict[str, Any]) -> None:
        match command:
            case {"do": "preload", "modules": modules}:
                _preload(modules)
            case {"do": "start", "key": key}:
                self._start(key, command)
            case {"do": "signal", "key": key, "number": number}:
                for pid in [pid for pid, name in self._keys.items() if name == key]:
                    os.kill(pid, number)
            case _:
                raise ValueError(f"unknown command {command.get('do')}")

    def _start(self, key: str, command: dict[str, Any]) -> None:
        parent = os.getpid()
        if pid := os.fork():
            self._keys[pid] = key
            self._tell(event="started", key=key, pid=pid)
            return
        _run(lambda: self._become(parent, key, command))

    def _become(self, parent: int, key: str, command: dict[str, Any]) -> None:
        """In the child: forget what made the zygote one, then be what was asked for."""
        signal.set_wakeup_fd(-1)
        for number in (*_OURS, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        die_with(parent)
        for descriptor in (self._link.detach(), self._wake_read, self._wake_write):
            os.close(descriptor)
        name_process(f"postbus-{key}")
        match command:
            case {"argv": argv, "log": log}:
                _redirect_output(log)
                os.execv(argv[0], argv)  # noqa: S606 - our own programs, no shell
            case {"call": call, "arguments": arguments}:
                module, _, function = call.partition(":")
                getattr(importlib.import_module(module), function)(self._config, **arguments)

    def _reap(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake_read, READ_SIZE)
        while self._keys:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            key = self._keys.pop(pid, None)
            if key is not None:
                self._tell(event="ended", key=key, pid=pid, status=os.waitstatus_to_exitcode(status))

    def _tell(self, **event: Any) -> None:
        try:
            self._link.sendall(json.dumps(event).encode() + b"\n")
        except OSError:
            os._exit(0)  # the supervisor is gone


def _run(action: Any) -> NoReturn:
    """Do this and end the process: nothing of the parent's stack may run on in a child."""
    code = 1
    try:
        action()
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - said and turned into the exit code
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _preload(modules: list[str]) -> None:
    """Import what children will need; one that can't be imported says so itself, in the child that needs it."""
    for module in modules:
        with suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()


def _detach_stdin() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.dup2(descriptor, 0)
    os.close(descriptor)


def _redirect_output(log: str) -> None:
    """Output into a file: an inherited pipe that nobody reads would stop the writer."""
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
