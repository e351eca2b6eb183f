"""Names of everything in the store. All keys of an account share one hash tag, so a script touches one slot."""

from __future__ import annotations

ACCOUNTS = "ee:{accounts}"  # zset, all scores 0: account ids in order
ACCOUNT_PARTITION = "ee:{accounts}:%d"  # set: account ids of a partition
SETTINGS = "ee:{cfg}"  # hash: key → JSON, secrets sealed
KEYS = "ee:{keys}"  # hash: `salt` of the passphrase
FLUSH = "ee:{flush}"  # string with a life time: the flush that is under way
STATS = "ee:{stats}:%s"  # hash of a day: `minute:counter` → count


def account(token: str) -> str:
    """Hash: record, revision, generation, sealed secrets, state, counters, fence."""
    return f"ee:{{{token}}}:acct"


def mailboxes(token: str) -> str:
    """Hash: path → MailboxRecord as JSON."""
    return f"ee:{{{token}}}:mbx"


def numbers(token: str) -> str:
    """Hash, both ways: `n:<number>` → `<uid_validity>:<path>`, and `<uid_validity>:<path>` → number."""
    return f"ee:{{{token}}}:num"


def index(token: str, number: int) -> str:
    """Hash: `<uid >> 10>` → packed entries; `sets` → the flag sets the entries refer to."""
    return f"ee:{{{token}}}:ix:{number}"


def seen(token: str) -> str:
    """Hash: bucket → packed identities of messages announced lately; `from` → since when all of them are there."""
    return f"ee:{{{token}}}:seen"


def outbox(token: str) -> str:
    """List: events that are committed and not yet in the log."""
    return f"ee:{{{token}}}:ob"


def log(token: str) -> str:
    """List with a life time: the lines of the account's log."""
    return f"ee:{{{token}}}:log"


def log_state(token: str) -> str:
    """Hash with a life time: bytes in the log, lines that are gone from it, name of the last batch."""
    return f"ee:{{{token}}}:log:state"


def submission(token: str, queue_id: str) -> str:
    """Hash: how far a submission got."""
    return f"ee:{{{token}}}:q:{queue_id}"


def idempotency(token: str, digest: str) -> str:
    """Hash with a life time: what was answered to a submission with this idempotency key."""
    return f"ee:{{{token}}}:idem:{digest}"


def credentials(token: str, proto: str) -> str:
    """String with a life time: sealed credentials of an external authentication server."""
    return f"ee:{{{token}}}:cred:{proto}"


def placement(name: str) -> tuple[str, str]:
    """Zset of live workers with their expiry, and hash `partition → worker|epoch`."""
    return f"ee:{{place-{name}}}:members", f"ee:{{place-{name}}}:own"
