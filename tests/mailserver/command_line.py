"""The command line: `run` in the foreground, `start` in the background; `status`, `stop`, `doveadm` for what runs."""

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.mailserver.dovecot import CONFIG
from tests.mailserver.instance import STATE_FILE
from tests.mailserver.launcher import MailSystem
from tests.mailserver.options import Options, add_options, read_options
from tests.mailserver.recipients import ADDRESSES

ROOT = Path(__file__).resolve().parents[2]  # where `python -m tests.mailserver` works
POLL_S = 0.3  # for servers that ended by themselves
STOP_TIMEOUT_S = 20.0

_STDIN = 0


def main(argv: Sequence[str]) -> int:
    """Do what the command line says; the exit code."""
    options = _parser().parse_args(argv)
    match options.command:
        case "run":
            return run(read_options(options))
        case "start":
            return start(argv[1:])
        case "stop":
            return stop(options.dir)
        case "status":
            info = running(options.dir)
            print(json.dumps(info, indent=1))
            return 0 if info else 1
        case _:
            return subprocess.call(["doveadm", "-c", str(Path(options.dir, CONFIG)), *options.args])


def launch_command(*arguments: str) -> list[str]:
    """The command that does this in a process of its own; run it in ROOT."""
    return [sys.executable, "-m", "tests.mailserver", *arguments]


def run(options: Options) -> int:
    """Bring an instance up, print its JSON line, serve until a signal, and take it down."""
    system = MailSystem(options)
    stopped: list[int] = []

    def on_signal(number: int, _: object) -> None:
        stopped.append(number)
        system.wake()

    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in signals:
        signal.signal(number, on_signal)
    try:
        print(json.dumps(system.up()), flush=True)
        if options.detached:
            _let_go_of_terminal()
        return _serve(system, stopped)
    except (RuntimeError, ValueError, OSError, KeyError, subprocess.CalledProcessError) as error:
        _say(f"failed: {error}")
        return 1
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        system.down()


def start(arguments: Sequence[str]) -> int:
    """Run in the background; print the JSON line and return."""
    process = subprocess.Popen(
        launch_command("run", "--detached", *_absolute_dir(arguments)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    sys.stdout.write(line.decode())
    return 0 if line else process.wait() or 1


def stop(directory: str) -> int:
    """Stop the instance of a directory and wait for its end."""
    info = running(directory)
    if info is None:
        _say(f"nothing runs in {directory}")
        return 1
    os.kill(info["pid"], signal.SIGTERM)
    until = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < until:
        if not running(directory) and not Path(directory, STATE_FILE).exists():
            return 0
        time.sleep(0.05)
    return 1


def running(directory: str) -> dict[str, Any] | None:
    """The state of the instance in a directory, if its process is there."""
    try:
        info: dict[str, Any] = json.loads(Path(directory, STATE_FILE).read_text())
        command = Path(f"/proc/{info['pid']}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return info if b"mailserver" in command else None


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("mailserver", description=__doc__, epilog=ADDRESSES, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "start"):
        add_options(commands.add_parser(name, epilog=ADDRESSES, formatter_class=raw))
    for name in ("stop", "status", "doveadm"):
        commands.add_parser(name).add_argument("dir")
    commands.choices["doveadm"].add_argument("args", nargs=argparse.REMAINDER)
    return parser


def _serve(system: MailSystem, stopped: list[int]) -> int:
    """Until told to stop (exit code 0) or a server ended by itself (1)."""
    watched = [system.wake_read, *([_STDIN] if system.options.watch_stdin else [])]
    while not stopped:
        ready = select.select(watched, [], [], POLL_S)[0]
        if system.wake_read in ready:
            os.read(system.wake_read, 4096)
        if _STDIN in ready and not os.read(_STDIN, 4096):
            return 0
        system.work()
        if ended := system.processes.ended():
            _say(f"{', '.join(ended)} ended by itself\n{system.tails()}")
            return 1
    return 0


def _let_go_of_terminal() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _absolute_dir(arguments: Sequence[str]) -> list[str]:
    """`--dir` as seen from here: the process runs elsewhere."""
    found = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    found.add_argument("--dir")
    given, rest = found.parse_known_args(arguments)
    return [*rest, *(["--dir", str(Path(given.dir).absolute())] if given.dir else [])]


def _say(text: str) -> None:
    print("mailserver:", text, file=sys.stderr, flush=True)
