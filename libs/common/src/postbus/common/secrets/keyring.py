"""The key ring: seals with its active key, opens with any of its keys. AES-256-GCM (NIST SP 800-38D).

A sealed secret is `v1:<kid>:<nonce>:<ciphertext and tag>`, the last two base64url without padding. Account and field
are its associated data, so it opens nowhere but where it was put.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from postbus.common.secrets.errors import SecretUnreadable

KEY_SIZE = 32  # bytes: AES-256
NONCE_SIZE = 12  # bytes; SP 800-38D, 8.2
SCRYPT_N, SCRYPT_R, SCRYPT_P = 16_384, 8, 1  # 73 ms once at start; 16 MB
MAX_KEYS = 64

_VERSION = "v1"
_ACTIVE = "active"
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class KeyRing:
    """Keys of 32 bytes by key id; new secrets are sealed with the active one. ValueError for a ring that can't work."""

    __slots__ = ("_active_kid", "_ciphers")

    def __init__(self, keys: Mapping[str, bytes], active_kid: str) -> None:
        if active_kid not in keys:
            raise ValueError(f"the active key {active_kid} is not in the ring")
        if len(keys) > MAX_KEYS:
            raise ValueError(f"there are more than {MAX_KEYS} keys in the ring")
        for kid, key in keys.items():
            if not _KID.fullmatch(kid) or kid == _ACTIVE:
                raise ValueError("a key id has to be 1 to 64 letters, digits, - and _")
            if len(key) != KEY_SIZE:
                raise ValueError(f"key {kid} is not {KEY_SIZE} bytes long")
        self._active_kid = active_kid
        self._ciphers = {kid: AESGCM(key) for kid, key in keys.items()}

    @property
    def active_kid(self) -> str:
        """The id of the key that seals."""
        return self._active_kid

    @property
    def kids(self) -> frozenset[str]:
        """The ids of all keys."""
        return frozenset(self._ciphers)

    def seal(self, plain: str, *, account: str, field: str) -> str:
        """Encrypt a secret for this field of this account."""
        nonce = os.urandom(NONCE_SIZE)
        raw = plain.encode("utf-8", "surrogatepass")
        sealed = self._ciphers[self._active_kid].encrypt(nonce, raw, _associated_data(account, field))
        return f"{_VERSION}:{self._active_kid}:{_encode(nonce)}:{_encode(sealed)}"

    def open(self, sealed: str, *, account: str, field: str) -> str:
        """Decrypt a secret of this field of this account; SecretUnreadable if that can't be done."""
        kid, nonce, content = _parse(sealed)
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise SecretUnreadable(f"{field} was sealed with key {kid}, which is not in the key ring", missing_kid=kid)
        try:
            raw = cipher.decrypt(nonce, content, _associated_data(account, field))
        except InvalidTag as error:
            raise SecretUnreadable(f"{field} was changed, or sealed for another account or field") from error
        return raw.decode("utf-8", "surrogatepass")

    def needs_reseal(self, sealed: str) -> bool:
        """Whether another key than the active one sealed it; SecretUnreadable for what no key sealed."""
        return _parse(sealed)[0] != self._active_kid


def parse_ring(text: str) -> KeyRing:
    """Read `{"active": kid, kid: base64 of 32 bytes, ...}`; ValueError, which never repeats the text, otherwise."""
    try:
        entries = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ValueError("starts with { but is not JSON") from None  # the cause would carry the text
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise ValueError("has to be a JSON object of strings")
    if _ACTIVE not in entries:
        raise ValueError('does not say which key is "active"')
    keys = {kid: _decode_key(kid, value) for kid, value in entries.items() if kid != _ACTIVE}
    return KeyRing(keys, entries[_ACTIVE])


def compose_ring(keys: Mapping[str, bytes], active_kid: str) -> str:
    """The text that `parse_ring` reads."""
    entries = {kid: base64.b64encode(key).decode("ascii") for kid, key in keys.items()}
    return orjson.dumps({_ACTIVE: active_kid} | entries).decode()


def derive_ring(passphrase: str, salt: bytes) -> KeyRing:
    """The ring of one key made from a passphrase by scrypt (RFC 7914). Takes about 70 ms: run it in a thread."""
    key = hashlib.scrypt(passphrase.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P, dklen=KEY_SIZE)
    kid = kid_of(key)
    return KeyRing({kid: key}, kid)


def kid_of(key: bytes) -> str:
    """The id of a key that nobody named: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(key).hexdigest()[:8]


def _associated_data(account: str, field: str) -> bytes:
    if "\0" in field:
        raise ValueError("a field name with NUL would make the associated data ambiguous")
    return f"{account}\0{field}".encode("utf-8", "surrogatepass")


def _parse(sealed: str) -> tuple[str, bytes, bytes]:
    parts = sealed.split(":")
    if len(parts) != 4 or parts[0] != _VERSION or not _KID.fullmatch(parts[1]):
        raise SecretUnreadable("the stored secret does not have the form v1:key:nonce:content")
    try:
        nonce, content = _decode(parts[2]), _decode(parts[3])
    except ValueError as error:
        raise SecretUnreadable("the stored secret is not base64url") from error
    if len(nonce) != NONCE_SIZE:
        raise SecretUnreadable(f"the nonce of the stored secret is not {NONCE_SIZE} bytes long")
    return parts[1], nonce, content


def _decode_key(kid: str, text: str) -> bytes:
    """A key in base64, of either alphabet, padded or not."""
    try:
        return _decode(text.strip().rstrip("=").replace("+", "-").replace("/", "_"))
    except ValueError:
        raise ValueError(f"key {kid[:64]} is not base64") from None  # the cause would carry the key


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
