"""`postbus listen`: what a person sees of webhooks that come in."""

import json
import subprocess
import urllib.request

from postbus.cli.listen import describe
from tests.servers.process import bundled_program

EVENT = {
    "account": "a",
    "event": "messageNew",
    "path": "INBOX",
    "data": {"id": "AAAAAQAAAeE", "subject": "Grüße\x9b1m"},
}


def test_an_event_is_one_line_with_the_id_to_fetch_it_by_and_no_terminal_commands() -> None:
    line = describe(json.dumps(EVENT).encode(), full=False)
    assert line == 'messageNew account=a "INBOX" "AAAAAQAAAeE" "Grüße\N{REPLACEMENT CHARACTER}1m"'


def test_what_is_no_event_is_shown_as_it_came() -> None:
    assert describe(b"[1]\x1b[2J", full=False) == "[1]\N{REPLACEMENT CHARACTER}[2J"


def test_a_webhook_is_answered_and_printed() -> None:
    command = [str(bundled_program("postbus")), "listen", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        url = process.stderr.readline().split()[2]
        with urllib.request.urlopen(url, json.dumps(EVENT).encode(), timeout=10) as answer:
            assert answer.status == 200
        assert process.stdout.readline().startswith("messageNew account=a")
        process.terminate()
