"""What people and their mail programs do with an account, and what befalls servers and workers: one step at a time."""

import random
import time
from collections import Counter
from collections.abc import Callable
from imaplib import IMAP4

from tests.chaos.replica import listed
from tests.chaos.workers import Workers
from tests.mailserver import MailServer

NAMES = ("Work", "Play", "A b", "Caf&AOk-", "x+y")  # few, so that names come back
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "$Label1", "odd")
LONGEST_PAUSE_S = 0.3


class Disturber:
    """Draws steps from a seed and does them, over connections of its own that no fault touches."""

    def __init__(self, mail: MailServer, user: str, proxy: str, workers: Workers, draw: random.Random) -> None:
        self._mail = mail
        self._user = user
        self._proxy = proxy
        self._workers = workers
        self._draw = draw
        self._sent = 0
        self._client: IMAP4 | None = None
        self.done: Counter[str] = Counter()
        self._steps: dict[Callable[[], None], float] = {
            self.deliver: 24,
            self.append: 12,
            self.flag: 24,
            self.move: 12,
            self.expunge: 10,
            self.create: 4,
            self.rename: 2,
            self.delete: 1.5,
            self.kick: 2,
            self.drop: 2,
            self.pause: 6,
            self.kill_worker: 2,
            self.restart_server: 0.3,
        }

    @property
    def client(self) -> IMAP4:
        """A connection straight to Dovecot."""
        if self._client is None:
            self._client = self._mail.imap_client(self._user, port=self._mail.info["imap_direct"])
        return self._client

    def step(self) -> None:
        """One thing that happens."""
        [act] = self._draw.choices(list(self._steps), list(self._steps.values()))
        self.done[act.__name__] += 1
        try:
            act()
        except (IMAP4.abort, OSError):  # kicked, together with the others
            self._client = None

    def close(self) -> None:
        """Log out."""
        if self._client is not None:
            self._client.shutdown()

    # mail

    def deliver(self) -> None:
        """One to three messages arrive in the INBOX."""
        for _ in range(self._draw.randint(1, 3)):
            self._mail.deliver(self._user, raw=self._message())

    def append(self) -> None:
        """A mail program files a message anywhere."""
        flags = " ".join(self._draw.sample(FLAGS, self._draw.randint(0, 2)))
        self.client.append(f'"{self._any_mailbox()}"', f"({flags})", None, self._message())

    def flag(self) -> None:
        """Flags of some messages change, several at once."""
        for uid in self._some(4):
            action = self._draw.choice(["FLAGS", "+FLAGS", "-FLAGS"])
            self.client.uid("STORE", uid, action, f"({' '.join(self._draw.sample(FLAGS, 2))})")

    def move(self) -> None:
        """Messages move to another mailbox."""
        if uids := self._some(5):
            self.client.uid("MOVE", ",".join(uids), f'"{self._any_mailbox()}"')

    def expunge(self) -> None:
        """Messages are removed."""
        if uids := self._some(4):
            self.client.uid("STORE", ",".join(uids), "+FLAGS", "(\\Deleted)")
            self.client.expunge()

    # mailboxes

    def create(self) -> None:
        """A new mailbox, often with mail at once."""
        name = self._draw.choice(NAMES)
        self.client.create(f'"{name}"')
        for _ in range(self._draw.randint(0, 2)):
            self.client.append(f'"{name}"', "", None, self._message())

    def rename(self) -> None:
        """A mailbox gets another name, and keeps its UIDVALIDITY."""
        self._leave()
        self.client.rename(f'"{self._draw.choice(NAMES)}"', f'"{self._draw.choice(NAMES)}"')

    def delete(self) -> None:
        """A mailbox goes with all that is in it."""
        self._leave()
        self.client.delete(f'"{self._draw.choice(NAMES)}"')

    # misfortunes

    def kick(self) -> None:
        """Dovecot drops all connections of the user."""
        self._mail.kick(self._user)
        self._client = None

    def drop(self) -> None:
        """The network resets connections, or cuts them in the middle of an answer."""
        if self._draw.random() < 0.5:
            self._mail.proxy_set(self._proxy, cut_after=self._draw.randint(200, 4000))
            self.pause()
        self._mail.proxy_drop(self._proxy)
        self._mail.proxy_clear(self._proxy)

    def restart_server(self) -> None:
        """Dovecot restarts."""
        self._mail.service("dovecot", "restart")
        self._client = None

    def kill_worker(self) -> None:
        """The worker is killed; it comes back under its name, or another takes over."""
        [name] = self._workers.pids
        self._workers.kill(name)
        self._workers.start(name if self._draw.random() < 0.8 else f"w{self.done['kill_worker']}")

    def pause(self) -> None:
        """Nothing happens for a moment, so that steps meet every phase of a pass."""
        time.sleep(self._draw.uniform(0, LONGEST_PAUSE_S))

    def _message(self) -> bytes:
        self._sent += 1
        head = f"From: a@b.test\r\nTo: {self._user}\r\nSubject: {self._sent}\r\nMessage-ID: <m{self._sent}@chaos.test>"
        return f"{head}\r\n\r\ntext {self._sent}\r\n".encode()

    def _any_mailbox(self) -> str:
        return "INBOX" if self._draw.random() < 0.3 else self._draw.choice(sorted(listed(self.client)))

    def _some(self, most: int) -> list[str]:
        self.client.select(f'"{self._any_mailbox()}"')
        uids = [uid.decode() for uid in self.client.uid("SEARCH", "ALL")[1][0].split()]
        return self._draw.sample(uids, min(len(uids), self._draw.randint(1, most)))

    def _leave(self) -> None:
        """Deselect: what is selected can't go."""
        self.client.select('"INBOX"', readonly=True)
