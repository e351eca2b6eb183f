"""Which messages an account has announced lately, in whatever mailbox: how old mail is told from new mail.

A uid means nothing in another mailbox, nor after UIDVALIDITY changed. What stays is EMAILID (RFC 8474) or X-GM-MSGID,
and Message-ID with date and size. Of each message that is announced these are kept as hashes of 8 bytes with its time
of arrival: two days of mail, the newest 4,000 at most. In the store they are a hash of packed buckets, written by the
commit that announces.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from postbus.imap_sync.protocol.values import Fetched

BUCKETS = 32
MAX_ENTRIES = 128  # of a bucket: 4096 of an account, 49 KB
KEPT_S = 2 * 86_400  # what arrived before is told from new mail by that alone
FROM_FIELD = "from"  # since when all that was announced is kept: seconds

_HEAD = struct.Struct("<I")
_ENTRY = struct.Struct("<QI")
_MAX_TIME = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """What a message is known by, the surest first, and when it arrived: seconds, 0 where nobody knows."""

    keys: tuple[int, ...]
    arrived: int = 0


def identity_items(*, gmail: bool, object_ids: bool) -> tuple[str, ...]:
    """What to FETCH for `identity_of`."""
    own = ("X-GM-MSGID",) if gmail else ("EMAILID",) if object_ids else ()
    return ("UID", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", *own)


def identity_of(row: Fetched) -> Identity | None:
    """The identity of a message as FETCH shows it; None where nothing tells it from others."""
    keys = [_key(b"id", row.email_id.encode())] if row.email_id else []
    envelope, arrived = row.envelope, int(row.internal_date.timestamp()) if row.internal_date else 0
    if envelope is not None:
        named = [envelope.message_id or b""]
        if not envelope.message_id:  # then all that there is has to do
            named += [envelope.subject or b"", b"%d" % arrived]
        keys.append(_key(b"mail", *named, envelope.date or b"", b"%d" % (row.size or 0)))
    return Identity(tuple(keys), min(max(arrived, 0), _MAX_TIME)) if keys else None


@dataclass(slots=True)
class Bucket:
    """Keys with their times, the newest last. `forgotten`: when the youngest of those that fell out had arrived."""

    forgotten: int = 0
    entries: dict[int, int] = field(default_factory=dict)

    def put(self, key: int, arrived: int) -> None:
        """Remember a message; the one that was put longest ago makes room."""
        self.entries.pop(key, None)
        self.entries[key] = arrived
        if len(self.entries) > MAX_ENTRIES:
            self._forget(next(iter(self.entries)))

    def expire(self, before: int) -> None:
        """Forget what arrived before then."""
        for key in [key for key, arrived in self.entries.items() if arrived < before]:
            self._forget(key)

    def _forget(self, key: int) -> None:
        self.forgotten = max(self.forgotten, self.entries.pop(key))


class Seen:
    """The buckets that some messages lie in, and what changed in them since the last `take_changes`."""

    def __init__(self, since: int | None = None, buckets: Mapping[int, Bucket] | None = None) -> None:
        self._since = since
        self._buckets = dict(buckets or {})
        self._dirty: set[int] = set()

    def was_announced(self, identity: Identity) -> bool:
        """Whether this very message was, by the surest thing that is known of it."""
        return self._has(identity.keys[0])

    def is_new(self, identity: Identity) -> bool:
        """Whether it was surely never announced; for a message that arrived before we began to remember nobody can say.

        Here any likeness counts: a mailbox that moved to another server has other EMAILIDs.
        """
        if self._since is None or any(self._has(key) for key in identity.keys):
            return False
        forgotten = max(self._bucket(key).forgotten for key in identity.keys)
        return identity.arrived >= self._since and identity.arrived > forgotten

    def put(self, identity: Identity) -> None:
        """It is announced now."""
        for key in identity.keys:
            self._bucket(key).put(key, identity.arrived)
            self._dirty.add(key % BUCKETS)

    def take_changes(self, looked_at: float) -> dict[str, bytes]:
        """Fields to write, for what changed since the last call, without what is too old to matter.

        `looked_at`: when all mailboxes were last looked at, seconds; a reset asks about what arrived since then.
        """
        for number in self._dirty:
            self._buckets[number].expire(int(looked_at) - KEPT_S)
        written = {str(number): pack_bucket(self._buckets[number]) for number in sorted(self._dirty)}
        self._dirty.clear()
        return written

    def _has(self, key: int) -> bool:
        return key in self._bucket(key).entries

    def _bucket(self, key: int) -> Bucket:
        return self._buckets.setdefault(key % BUCKETS, Bucket())


def begin_at(at: float) -> int:
    """Since when all is remembered where that begins at `at`: what came in the same second may have been announced."""
    return int(at) + 1


def buckets_of(identities: Iterable[Identity]) -> set[int]:
    """The numbers of the buckets these messages lie in."""
    return {key % BUCKETS for identity in identities for key in identity.keys}


def pack_bucket(bucket: Bucket) -> bytes:
    """One bucket as the field of the store."""
    return _HEAD.pack(bucket.forgotten) + b"".join(_ENTRY.pack(*entry) for entry in bucket.entries.items())


def parse_bucket(packed: bytes) -> Bucket:
    """Read a field of the store; one that is damaged forgot everything."""
    try:
        return Bucket(_HEAD.unpack_from(packed)[0], dict(_ENTRY.iter_unpack(packed[_HEAD.size :])))
    except struct.error:
        return Bucket(_MAX_TIME)


def _key(kind: bytes, *parts: bytes) -> int:
    digest = hashlib.blake2b(b"\0".join((kind, *parts)), digest_size=8).digest()
    return int.from_bytes(digest, "little")
