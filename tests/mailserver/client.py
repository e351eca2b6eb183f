"""MailServer: an instance as tests see it. It is a child process, and ends with the process that started it."""

import imaplib
import json
import smtplib
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from select import select
from typing import Any, Self

from tests.mailserver.command_line import ROOT, launch_command
from tests.mailserver.maildir import seed_maildir
from tests.mailserver.messages import DEFAULT_SENDER, deliver_by_lmtp, sample_message
from tests.mailserver.net import HOST

START_TIMEOUT_S = 40.0
STOP_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 30.0
POLL_S = 0.05


class MailServer:
    """Keywords are the options of the command line with `_` for `-`: `MailServer(quota="1M", drop_caps=["IDLE"])`.

    A context manager. `info` is the JSON the launcher printed; ports that are not served are None there.
    """

    def __init__(self, **options: object) -> None:
        self.options = options
        self.info: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._delivered = 0

    def start(self, timeout: float = START_TIMEOUT_S) -> Self:
        """Start and wait until it serves. RuntimeError otherwise; the launcher said why on standard error."""
        command = launch_command("run", "--watch-stdin", *_arguments(self.options))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        assert self._process.stdout is not None
        line = b""
        if select([self._process.stdout], [], [], timeout)[0]:
            line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the mail server did not start, see standard error")
        self.info = json.loads(line)
        return self

    def stop(self) -> None:
        """Stop it and wait for its end."""
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
        process.stdout.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def imap(self) -> int:
        """Port of IMAP, with STARTTLS."""
        return int(self.info["imap"])

    @property
    def imaps(self) -> int:
        """Port of IMAP over TLS."""
        return int(self.info["imaps"])

    @property
    def submission(self) -> int:
        """Port of submission, with STARTTLS."""
        return int(self.info["submission"])

    @property
    def submissions(self) -> int:
        """Port of submission over TLS."""
        return int(self.info["submissions"])

    @property
    def mx(self) -> int:
        """Port of the MTA as the world sees it."""
        return int(self.info["mx"])

    @property
    def proxy(self) -> Mapping[str, int]:
        """Ports of the fault proxies by the name of what they stand in front of."""
        return dict(self.info["proxy"])

    @property
    def ca_file(self) -> str:
        """The certificate authority."""
        return str(self.info["tls"]["ca"])

    @property
    def http_url(self) -> str:
        """Where the control API is."""
        return str(self.info["http_url"])

    @property
    def password(self) -> str:
        """The password of every user."""
        return str(self.info["password"])

    def http_call(self, path: str, data: object = None, method: str | None = None, **query: object) -> Any:
        """Ask the control API; `data` is sent as it is when it is bytes, else as JSON."""
        url = self.http_url + path + (f"?{urllib.parse.urlencode(query, doseq=True)}" if query else "")
        body = data if data is None or isinstance(data, bytes) else json.dumps(data).encode()
        request = urllib.request.Request(url, body, method=method or ("GET" if body is None else "POST"))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=CALL_TIMEOUT_S) as answer:
            return json.loads(answer.read() or b"null")

    def token(self, user: str, expires_in: float | None = None) -> dict[str, Any]:
        """A pair of OAuth2 tokens: `access_token` and `refresh_token`."""
        asked = urllib.parse.urlencode({"user": user} | ({} if expires_in is None else {"expires_in": str(expires_in)}))
        return dict(self.http_call(f"/oauth/mint?{asked}", b""))

    def expire_tokens(self, user: str) -> None:
        """End the access tokens of a user."""
        self.http_call("/oauth/expire", b"", user=user)

    def revoke(self, user: str) -> None:
        """End all tokens of a user."""
        self.http_call("/oauth/revoke", b"", user=user)

    def oauth_config(self, **settings: object) -> dict[str, Any]:
        """Set `lifetime` and `fail` of the OAuth2 provider."""
        return dict(self.http_call("/oauth/config", settings))

    def queue(self) -> list[dict[str, Any]]:
        """What the MTA has queued."""
        return list(self.http_call("/queue"))

    def flush(self) -> None:
        """Let the MTA try again now."""
        self.http_call("/queue/flush", b"")

    def kick(self, user: str) -> None:
        """Let Dovecot drop the connections of a user."""
        self.http_call("/kick", b"", user=user)

    def service(self, name: str, do: str) -> None:
        """Let `dovecot` or `postfix` `stop`, `start` or `restart`, on the same ports."""
        self.http_call("/service", b"", name=name, do=do)

    def proxy_set(self, name: str, **settings: object) -> None:
        """Switch faults of a proxy on: see FaultProxy."""
        self.http_call(f"/proxy/{name}", settings)

    def proxy_drop(self, name: str) -> None:
        """Reset every connection of a proxy."""
        self.http_call(f"/proxy/{name}/drop", b"")

    def proxy_clear(self, name: str) -> None:
        """Switch the faults of a proxy off."""
        self.http_call(f"/proxy/{name}/clear", b"")

    def proxy_info(self) -> dict[str, dict[str, Any]]:
        """All proxies: settings, connections, what the strict filter refused."""
        return dict(self.http_call("/proxy"))

    def deliver(
        self,
        to: str | Sequence[str],
        raw: bytes | None = None,
        sender: str = DEFAULT_SENDER,
        n: int = 1,
        **headers: str,
    ) -> None:
        """Put `n` messages into mailboxes, by LMTP over one connection; samples with these headers without `raw`."""
        recipients = [to] if isinstance(to, str) else list(to)
        first = self._delivered + 1
        self._delivered += n
        messages = [raw or sample_message(recipients[0], first + number, **headers) for number in range(n)]
        deliver_by_lmtp(self.info["lmtp"], recipients, messages, sender)

    def seed(
        self,
        user: str,
        n: int,
        mailbox: str = "INBOX",
        make: Callable[[int], bytes] | None = None,
        flags: str = "",
        start: int = 0,
    ) -> None:
        """Put `n` messages straight into the Maildir: thousands a second. `flags`: Maildir letters, `S` for \\Seen."""
        if self.info["storage"] != "maildir":
            raise RuntimeError("seed() needs storage=maildir")
        if mailbox.upper() != "INBOX":
            self._create_mailbox(user, mailbox)
        compose = make or (lambda number: sample_message(user, number))
        messages = (compose(number) for number in range(start, start + n))
        directory = mailbox.replace(self.info["separator"], ".")
        owner = self.info["mail_uid"], self.info["mail_gid"]
        seed_maildir(Path(self.info["mail"]), user, directory, messages, flags=flags, first=start, owner=owner)

    def imap_client(
        self, user: str, password: str | None = None, tls: bool = False, port: int | None = None
    ) -> imaplib.IMAP4:
        """A client that is logged in."""
        client = (
            imaplib.IMAP4_SSL("localhost", port or self.imaps, ssl_context=self.ssl_context())
            if tls
            else imaplib.IMAP4(HOST, port or self.imap)
        )
        try:
            client.login(user, password or self.password)
        except imaplib.IMAP4.error:
            client.shutdown()
            raise
        return client

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts the certificate authority."""
        return ssl.create_default_context(cafile=self.ca_file)

    def smtp_client(
        self, user: str, password: str | None = None, tls: str = "starttls", port: int | None = None
    ) -> smtplib.SMTP:
        """A client that is logged in; `tls` is `starttls`, `tls`, or anything else for none."""
        context = self.ssl_context()
        if tls == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL("localhost", port or self.submissions, context=context)
        else:
            client = smtplib.SMTP("localhost", port or self.submission)
        try:
            if tls == "starttls":
                client.starttls(context=context)
            client.login(user, password or self.password)
        except smtplib.SMTPException:
            client.close()
            raise
        return client

    def messages(
        self, user: str, mailbox: str = "INBOX", wait: float = 0, count: int = 1, match: bytes = b""
    ) -> list[bytes]:
        """Messages of a mailbox that contain `match`; waits up to `wait` seconds until there are `count` of them."""
        until = time.monotonic() + wait
        while True:
            found = [raw for raw in self._read_all(user, mailbox) if match in raw]
            if len(found) >= count or time.monotonic() >= until:
                return found
            time.sleep(POLL_S)

    def _create_mailbox(self, user: str, mailbox: str) -> None:
        client = self.imap_client(user, port=self.info["imap_direct"])
        client.create(f'"{mailbox}"')
        client.subscribe(f'"{mailbox}"')
        client.logout()

    def _read_all(self, user: str, mailbox: str) -> list[bytes]:
        client = self.imap_client(user, port=self.info["imap_direct"])
        try:
            status, counts = client.select(f'"{mailbox}"', readonly=True)
            if status != "OK" or counts[0] in (None, b"0"):
                return []
            rows = client.fetch("1:*", "(BODY.PEEK[])")[1]
            return [bytes(row[1]) for row in rows if isinstance(row, tuple)]
        finally:
            client.logout()


def _arguments(options: Mapping[str, object]) -> Iterator[str]:
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        match value:
            case True:
                yield flag
            case False | None:
                continue
            case Mapping():
                for key, entry in value.items():
                    yield from (flag, f"{key}={entry}")
            case list() | tuple():
                for entry in value:
                    yield from (flag, str(entry))
            case _:
                yield from (flag, str(value))
