"""A small HTTP server for JSON: routes by path, one plain function each."""

import json
import urllib.parse
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Route = Callable[["Request"], "Reply"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `query` has the last value of each name, `lists` all of them."""

    method: str
    path: str
    query: Mapping[str, str]
    lists: Mapping[str, list[str]]
    headers: Message
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty when there is none."""
        return dict(json.loads(self.body or b"{}"))

    @property
    def form(self) -> dict[str, str]:
        """The body as a form, or as JSON if it says so."""
        if "json" in (self.headers.get("Content-Type") or ""):
            return self.json
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; bytes go out as text, anything else as JSON."""

    content: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class JsonServer(ThreadingHTTPServer):
    """Serves routes by path; a path that is none goes to the longest route ending with `/` that it starts with."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple[str, int], routes: Mapping[str, Route], log: Path) -> None:
        self.routes = routes
        self.log = log
        super().__init__(address, _Handler)

    def route(self, path: str) -> Route | None:
        """The function for a path."""
        if found := self.routes.get(path.rstrip("/") or "/"):
            return found
        trees = [tree for tree in self.routes if tree.endswith("/") and path.startswith(tree)]
        return self.routes[max(trees, key=len)] if trees else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JsonServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        with self.server.log.open("a") as file:
            file.write(f"{self.log_date_time_string()} {format % args}\n")

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        lists = urllib.parse.parse_qs(url.query)
        query = {name: values[-1] for name, values in lists.items()}
        route = self.server.route(url.path)
        try:
            request = Request(self.command, url.path, query, lists, self.headers, body)
            reply = route(request) if route else Reply({"error": "no such path"}, 404)
        except Exception as error:
            reply = Reply({"error": repr(error)}, 500)
        with suppress(OSError):
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        plain = isinstance(reply.content, bytes)
        body = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "text/plain" if plain else "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
