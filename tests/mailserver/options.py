"""The options of an instance: on the command line of the launcher, as keywords of MailServer."""

import argparse
import os
from dataclasses import dataclass, fields

from tests.mailserver import certificates

DEFAULT_MAILBOXES = "Drafts=\\Drafts,Sent=\\Sent,Trash=\\Trash,Junk=\\Junk,Archive=\\Archive"
PORTS = (
    "imap",
    "imaps",
    "lmtp",
    "submission",
    "submissions",
    "mx",
    "dovecot_submission",
    "http",
    "policy",
    "proxy_imap",
    "proxy_imaps",
    "proxy_submission",
    "proxy_submissions",
    "strict_imap",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What `add_options` describes, one field each."""

    dir: str | None
    keep: bool
    port: list[str]
    password: str
    users: str
    only_users: bool
    deny: list[str]
    unknown: list[str]
    mechanisms: str
    oauth: str
    cert: str
    require_tls: bool
    drop_caps: list[str]
    add_caps: list[str]
    caps: str
    strict: bool
    quota: str
    mailboxes: str
    separator: str
    prefix: str
    storage: str
    greeting: str
    rawlog: bool
    max_connections: int
    max_userip: int
    hibernate: int
    idle_check: int
    idle_notify: int
    auth_failure_delay: str
    mta: str
    dovecot_submission: bool
    greylist: float
    retry: int
    delay_warning: int
    queue_lifetime: int
    message_size: int
    mail_user: str
    debug: bool
    dovecot_set: list[str]
    postfix_set: list[str]
    watch_stdin: bool
    detached: bool

    @property
    def dropped(self) -> frozenset[str]:
        """Capabilities that are not advertised; QRESYNC (RFC 7162) goes with CONDSTORE."""
        names = {name.upper() for name in self.drop_caps}
        return frozenset(names | {"QRESYNC"} if "CONDSTORE" in names else names)

    @property
    def fronted(self) -> bool:
        """Whether a filter stands in front of Dovecot's IMAP port."""
        return self.strict or self.require_tls

    @property
    def given_ports(self) -> dict[str, int]:
        """Ports that somebody fixed; ValueError for a name that is none."""
        given = dict(spec.partition("=")[::2] for spec in self.port)
        if unknown := given.keys() - set(PORTS):
            raise ValueError(f"--port: no such port {', '.join(sorted(unknown))}; there are {', '.join(PORTS)}")
        return {name: int(number) for name, number in given.items()}


def read_options(namespace: argparse.Namespace) -> Options:
    """The options of a parsed command line."""
    return Options(**{field.name: getattr(namespace, field.name) for field in fields(Options)})


def add_options(parser: argparse.ArgumentParser) -> None:
    """Describe every option, with its default."""
    _add_instance(parser)
    _add_logins(parser)
    _add_imap(parser)
    _add_mta(parser)


def _add_instance(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dir", help="instance directory (default: a new one under TMPDIR)")
    add("--keep", action="store_true", help="leave the directory after stop")
    add("--port", action="append", default=[], metavar="NAME=N", help="fix a port; names: " + ", ".join(PORTS))
    add("--mail-user", default="nobody", help="owner of the mail when run by root")
    add("--debug", action="store_true", help="debug lines in the logs of Dovecot")
    add("--watch-stdin", action="store_true", help="stop when stdin closes")
    add("--detached", action="store_true", help=argparse.SUPPRESS)


def _add_logins(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--password", default="pass", help="password of every user (default: pass)")
    add("--users", default="", metavar="U:PW,...", help="users with a password of their own")
    add("--only-users", action="store_true", help="no any-user login: only --users")
    add("--deny", action="append", default=[], metavar="USER", help="login always fails for USER")
    add("--unknown", action="append", default=[], metavar="LOCALPART", help="further local parts without a mailbox")
    add("--mechanisms", default="plain,login", help="password mechanisms (plain,login,cram-md5,...)")
    add("--oauth", choices=("introspect", "jwt", "off"), default="introspect", help="how tokens are checked")
    add("--cert", choices=certificates.KINDS, default="good", help="what is wrong with the certificate")
    add("--require-tls", action="store_true", help="refuse passwords on plain connections")
    add("--auth-failure-delay", default="0", metavar="S", help="further wait after a wrong password")


def _add_imap(parser: argparse.ArgumentParser) -> None:
    add, env = parser.add_argument, os.environ.get
    dropped = _names(env("MAILSERVER_DROP_CAPS", ""))
    drop_help = "do not advertise these (also env MAILSERVER_DROP_CAPS)"
    add("--drop-caps", type=_names, action="extend", default=dropped, metavar="CAP,...", help=drop_help)
    add("--add-caps", type=_names, action="extend", default=[], metavar="CAP,...", help="advertise these, too")
    add("--caps", default=env("MAILSERVER_CAPS", ""), help="the whole IMAP capability line")
    strict_help = "port imap really refuses what --drop-caps dropped (BAD); not after STARTTLS"
    add("--strict", action="store_true", default=bool(env("MAILSERVER_STRICT")), help=strict_help)
    add("--quota", default="", help="per user, e.g. 1M")
    add("--mailboxes", default=DEFAULT_MAILBOXES, metavar="NAME=\\Use,...", help="names in modified UTF-7")
    add("--separator", default="/", help="hierarchy separator")
    add("--prefix", default="", help="namespace prefix, e.g. INBOX. (with --separator .)")
    add("--storage", choices=("maildir", "sdbox", "mdbox"), default="maildir", help="seed() needs maildir")
    add("--greeting", default="Dovecot ready.", help="text of the IMAP greeting")
    add("--rawlog", action="store_true", help="protocol traces under DIR/rawlog (after login; PID in the name)")
    add("--max-connections", type=int, default=int(env("MAILSERVER_MAX_CONNECTIONS", "10000")), help="in all")
    add("--max-userip", type=int, default=0, metavar="N", help="connections per user (0: no limit)")
    hibernate_help = "move IDLE connections out of imap after S seconds"
    add("--hibernate", type=int, default=0, metavar="S", help=hibernate_help)
    add("--idle-check", type=int, default=1, metavar="S", help="mailbox poll, should inotify run out")
    add("--idle-notify", type=int, default=120, metavar="S", help="'* OK Still here' interval")
    add("--dovecot-set", action="append", default=[], metavar="LINE", help="a line for dovecot.conf")


def _add_mta(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--mta", choices=("auto", "postfix", "none"), default="auto", help="auto: Postfix if we are root")
    add("--dovecot-submission", action="store_true", help="also Dovecot's submission service")
    add("--greylist", type=float, default=2.0, metavar="S", help="how long strangers wait")
    add("--retry", type=int, default=2, metavar="S", help="MTA's longest retry interval")
    add("--delay-warning", type=int, default=3, metavar="S", help="delay DSN after S (0: none)")
    add("--queue-lifetime", type=int, default=3600, metavar="S", help="give up after S")
    add("--message-size", type=int, default=52_428_800, metavar="BYTES", help="the MTA's limit")
    add("--postfix-set", action="append", default=[], metavar="LINE", help="a line for main.cf")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
