"""`postbus listen`: a receiver of webhooks on this machine that prints what comes in, to try things with."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY = 8 * 1024 * 1024  # bytes
READ_TIMEOUT_S = 30.0


def listen(host: str, port: int, *, full: bool) -> None:
    """Answer 200 to every POST and print it, until interrupted: a line each, with `full` the whole body.

    OSError when the port is taken.
    """

    class Receiver(BaseHTTPRequestHandler):
        timeout = READ_TIMEOUT_S
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if size > MAX_BODY:
                self.send_error(413)
                return
            body = self.rfile.read(size)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            sys.stdout.write(describe(body, full=full) + "\n")  # at once: others print beside us
            sys.stdout.flush()

        def log_message(self, *_: Any) -> None:
            """Say nothing: what came in is printed."""

    with ThreadingHTTPServer((host, port), Receiver) as server:
        print(f"listening on http://{host}:{server.server_address[1]}/ (Ctrl-C ends it)", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def describe(body: bytes, *, full: bool) -> str:
    """A webhook in one line: event, account, mailbox, the message's id, its subject. Anything else as it is."""
    try:
        event = json.loads(body)
        data = event["data"]
        named = [event.get("path"), data.get("id") or data.get("queueId"), data.get("subject")]
        line = " ".join(
            [
                event["event"],
                f"account={event['account']}",
                *(json.dumps(part, ensure_ascii=False) for part in named if part),
            ]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return _harmless(body[:1000].decode("utf-8", "replace"))
    return _harmless(json.dumps(event, indent=2, ensure_ascii=False) if full else line)


def _harmless(text: str) -> str:
    """Text of strangers, without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
