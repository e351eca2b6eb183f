"""Sealed secrets: AES-256-GCM under a key id, bound to the field of the account they were sealed for."""

import base64
import hashlib
import json
import re

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.secrets import KeyRing, SecretUnreadable
from postbus.common.secrets.keyring import compose_ring, derive_ring, kid_of, parse_ring

KEY, OTHER = bytes(range(32)), bytes(32)
RING = KeyRing({"k1": KEY, "k0": OTHER}, "k1")
ANY_TEXT = st.text(alphabet=st.characters(), max_size=50)


@given(ANY_TEXT, ANY_TEXT, st.text(max_size=20).filter(lambda field: "\0" not in field))
def test_a_secret_opens_where_it_was_sealed(plain: str, account: str, field: str) -> None:
    assert RING.open(RING.seal(plain, account=account, field=field), account=account, field=field) == plain


def test_the_form_of_a_sealed_secret_is_documented() -> None:
    version, kid, nonce, content = RING.seal("geheim", account="a", field="imap.pass").split(":")
    assert (version, kid) == ("v1", "k1")
    raw = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
    iv = base64.urlsafe_b64decode(nonce + "=" * (-len(nonce) % 4))
    assert len(iv) == 12
    assert AESGCM(KEY).decrypt(iv, raw, b"a\0imap.pass") == b"geheim"


def test_the_same_secret_is_never_sealed_the_same_way() -> None:
    assert len({RING.seal("x", account="a", field="f") for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("account", "field"), [("b", "imap.pass"), ("a", "smtp.pass"), ("", "imap.pass"), ("a\0imap", "pass")]
)
def test_a_secret_that_was_moved_does_not_open(account: str, field: str) -> None:
    sealed = RING.seal("geheim", account="a", field="imap.pass")
    with pytest.raises(SecretUnreadable) as caught:
        RING.open(sealed, account=account, field=field)
    assert caught.value.missing_kid is None


def test_a_secret_of_which_any_bit_was_changed_does_not_open() -> None:
    version, kid, nonce, content = RING.seal("geheim", account="a", field="f").split(":")
    raw = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
    for position in range(len(raw)):
        changed = bytes([*raw[:position], raw[position] ^ 1, *raw[position + 1 :]])
        text = ":".join((version, kid, nonce, base64.urlsafe_b64encode(changed).decode().rstrip("=")))
        with pytest.raises(SecretUnreadable):
            RING.open(text, account="a", field="f")


@given(st.text() | st.from_regex(r"\Av1:k[01]:[A-Za-z0-9_-]{0,20}:[A-Za-z0-9_=-]{0,30}\Z"))
def test_whatever_is_no_sealed_secret_is_unreadable(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        RING.open(text, account="a", field="f")


def test_a_key_that_is_gone_is_named() -> None:
    sealed = KeyRing({"gone": KEY}, "gone").seal("x", account="a", field="f")
    with pytest.raises(SecretUnreadable) as caught:
        RING.open(sealed, account="a", field="f")
    assert caught.value.missing_kid == "gone"


def test_old_keys_open_and_the_active_one_seals_so_rotation_knows_what_is_left() -> None:
    old = KeyRing({"k0": OTHER}, "k0").seal("x", account="a", field="f")
    assert RING.open(old, account="a", field="f") == "x"
    assert RING.needs_reseal(old)
    assert not RING.needs_reseal(RING.seal("x", account="a", field="f"))


def test_a_ring_reads_back_and_takes_any_base64() -> None:
    text = compose_ring({"k1": KEY, "k0": OTHER}, "k1")
    assert parse_ring(text).kids == {"k0", "k1"}
    urlsafe = json.dumps({"active": "k", "k": base64.urlsafe_b64encode(b"\xff" * 32).decode().rstrip("=")})
    plain = json.dumps({"active": "k", "k": base64.b64encode(b"\xff" * 32).decode() + "\n"})
    sealed = parse_ring(urlsafe).seal("x", account="a", field="f")
    assert parse_ring(plain).open(sealed, account="a", field="f") == "x"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"active": "k"}',
        '{"k": "AAAA"}',
        '{"active": "k", "k": "s3cr3t!"}',
        '{"active": "k", "k": "AAAA"}',
        '{"active": "k", "k": 5}',
        '{"active": "k:x", "k:x": "' + base64.b64encode(KEY).decode() + '"}',
        '{"active": 1}',
        json.dumps({"active": "k0"} | {f"k{n}": base64.b64encode(KEY).decode() for n in range(65)}),
    ],
)
def test_a_ring_that_can_not_work_is_refused_and_never_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_ring(text)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_passphrase_makes_the_same_key_everywhere() -> None:
    ring = derive_ring("correct horse", b"salt-of-16-bytes")
    key = hashlib.scrypt(b"correct horse", salt=b"salt-of-16-bytes", n=16384, r=8, p=1, dklen=32)
    assert ring.active_kid == kid_of(key) == hashlib.sha256(key).hexdigest()[:8]
    sealed = ring.seal("x", account="a", field="f")
    assert KeyRing({kid_of(key): key}, kid_of(key)).open(sealed, account="a", field="f") == "x"
    assert derive_ring("correct horse", b"another-16-bytes").active_kid != ring.active_kid
    assert re.fullmatch(r"[0-9a-f]{8}", ring.active_kid)
