"""The tour of the README, typed as printed: only ports differ where others have them already."""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.running import RunningPostbus
from tests.servers.ports import free_port
from tests.servers.process import bundled_program

README = Path(__file__).resolve().parents[2] / "README.md"
PATIENCE_S = 20.0


def test_every_step_of_the_tour_works(tmp_path: Path) -> None:
    up, listen, *steps = _blocks()
    assert (up, listen) == ("./dev up --sandbox\n", ".venv/bin/postbus listen --port 4000\n")
    seen = tmp_path / "listen.log"
    with RunningPostbus("--sandbox") as postbus, _listening(seen) as hook_port:
        _wait_for(postbus.log_file, "Try:")
        mail = json.loads((postbus.data / "sandbox.json").read_text())
        ports = {"localhost:3000": f"localhost:{postbus.port}", "127.0.0.1:4000": f"127.0.0.1:{hook_port}"}
        ports |= {'"port": 11143': f'"port": {mail["imap"]}', '"port": 11025': f'"port": {mail["smtp"]}'}
        register, listing, write, fetch_and_answer, arrival = (_with_ports(step, ports) for step in steps)

        assert _type(register) == '{"updated":["webhooks"]}{"account":"helpdesk","state":"new"}'
        _wait_for(seen, "accountInitialized account=helpdesk")
        assert json.loads(_type(listing))["total"] == 2
        assert '"response":"Queued for delivery"' in _type(write)
        _wait_for(seen, 'messageNew account=helpdesk "INBOX" "AAAAAQAAAGc" "My printer is on fire"')
        answered = _type(fetch_and_answer)
        assert '"plain":"What shall I do?\\n"' in answered
        assert '"response":"Queued for delivery"' in answered
        _wait_for(seen, 'messageNew account=sandbox-alice "INBOX" "AAAAAQAAAGc" "Re: My printer is on fire"')
        [answer] = json.loads(_type(arrival))["messages"]
        assert (answer["subject"], answer["from"]["name"]) == ("Re: My printer is on fire", "Help desk")
        _wait_for(seen, 'messageUpdated account=helpdesk "INBOX" "AAAAAQAAAGc"')  # it is \Answered now


def _blocks() -> list[str]:
    """What the tour says to type, block by block."""
    tour = README.read_text().partition("## A five-minute tour")[2].partition("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", tour, re.DOTALL)


@contextmanager
def _listening(output: Path) -> Iterator[int]:
    """A receiver on a free port that prints into a file."""
    port = free_port()
    command = [str(bundled_program("postbus")), "listen", "--port", str(port)]
    with output.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        _wait_for(output, "listening on")
        try:
            yield port
        finally:
            process.terminate()


def _with_ports(step: str, ports: Mapping[str, str]) -> str:
    for printed, real in ports.items():
        step = step.replace(printed, real)
    return step


def _type(step: str) -> str:
    """What a shell prints; curl's progress aside."""
    return subprocess.run(["bash", "-e", "-c", step], capture_output=True, text=True, timeout=30, check=True).stdout


def _wait_for(file: Path, text: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while text not in file.read_text(errors="replace"):
        assert time.monotonic() < deadline, f"{text!r} is not in:\n{file.read_text(errors='replace')[-4000:]}"
        time.sleep(0.05)
