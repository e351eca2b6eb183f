"""Where keys come from without Vault: the environment, a mounted file, a key file of our own."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from postbus.common.config import ConfigError, load_config
from postbus.common.errors import Unavailable
from postbus.common.secrets import (
    KeyProvider,
    KeysUnavailable,
    Secrets,
    SecretsState,
    SecretUnreadable,
    choose_provider,
)
from postbus.common.secrets.keyring import compose_ring, derive_ring
from postbus.common.secrets.providers import KeyFileProvider
from postbus.common.secrets.vault import VaultLogin

pytestmark = pytest.mark.anyio

SALT = b"salt-of-16-bytes"
SHORT = timedelta(milliseconds=20)


class Salt:
    """Stands in for the store."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    async def salt(self) -> bytes:
        self.asked += 1
        if self.away:
            raise Unavailable("store: connection refused")
        return SALT


def provider(salt: Salt, cwd: Path = Path("/nonexistent"), **environ: str) -> KeyProvider:
    return choose_provider(load_config([], environ, cwd), salt)


async def state_of(source: KeyProvider) -> SecretsState:
    with pytest.raises(KeysUnavailable) as caught:
        await source.load()
    return caught.value.state


async def test_a_passphrase_is_derived_once_with_the_stored_salt() -> None:
    salt = Salt()
    source = provider(salt, EENGINE_SECRET="correct horse")
    first, second = await source.load(), await source.load()
    assert first is second
    assert salt.asked == 1
    assert first.active_kid == derive_ring("correct horse", SALT).active_kid


async def test_a_ring_in_the_environment_needs_no_salt() -> None:
    salt = Salt()
    ring = await provider(salt, EENGINE_SECRET=compose_ring({"k": bytes(32)}, "k")).load()
    assert (ring.active_kid, salt.asked) == ("k", 0)


async def test_without_the_store_a_passphrase_makes_no_key_and_then_it_does() -> None:
    salt = Salt()
    salt.away = True
    source = provider(salt, EENGINE_SECRET="correct horse")
    assert await state_of(source) is SecretsState.STORE_DOWN
    salt.away = False
    assert (await source.load()).kids


async def test_a_mounted_file_is_read_again_so_keys_can_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(compose_ring({"old": bytes(32)}, "old") + "\n")
    path.chmod(0o644)
    secrets = await Secrets.start(
        provider(Salt(), tmp_path, EENGINE_SECRET_FILE="secret"), refresh_every=timedelta(hours=1)
    )
    sealed = secrets.seal("x", account="a", field="f")
    path.write_text(compose_ring({"old": bytes(32), "new": b"\1" * 32}, "new"))
    await secrets.refresh()
    assert secrets.ring.active_kid == "new"
    assert await secrets.open(sealed, account="a", field="f") == "x"
    assert secrets.needs_reseal(sealed)
    await secrets.close()


@pytest.mark.parametrize(
    ("content", "state"),
    [
        (b"", SecretsState.KEY_MISSING),
        (b"  \n", SecretsState.KEY_MISSING),
        (b"{", SecretsState.KEY_INVALID),
        (b"\xff\xfe", SecretsState.KEY_INVALID),
        (b"x" * 70_000, SecretsState.KEY_INVALID),
    ],
)
async def test_a_mounted_file_without_a_key_says_so(tmp_path: Path, content: bytes, state: SecretsState) -> None:
    source = provider(Salt(), tmp_path, EENGINE_SECRET_FILE=str(_file(tmp_path, content)))
    assert await state_of(source) is state


def _file(directory: Path, content: bytes) -> Path:
    path = directory / "secret"
    path.write_bytes(content)
    return path


async def test_a_mounted_file_that_is_gone_says_so(tmp_path: Path) -> None:
    path = _file(tmp_path, b"x")
    source = provider(Salt(), tmp_path, EENGINE_SECRET_FILE=str(path))
    path.unlink()
    assert await state_of(source) is SecretsState.FILE_UNREADABLE


async def test_a_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    source = KeyFileProvider(tmp_path / "data")
    rings = await asyncio.gather(*(KeyFileProvider(tmp_path / "data").load() for _ in range(8)))
    assert {ring.active_kid for ring in rings} == {(await source.load()).active_kid}
    path = tmp_path / "data" / "keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["keys.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
async def test_a_key_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    source = KeyFileProvider(tmp_path)
    await source.load()
    (tmp_path / "keys.json").chmod(mode)
    assert await state_of(source) is SecretsState.FILE_UNSAFE
    (tmp_path / "keys.json").chmod(0o400)
    assert (await source.load()).kids


async def test_a_key_file_that_is_damaged_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("")
    path.chmod(0o600)
    assert await state_of(KeyFileProvider(tmp_path)) is SecretsState.KEY_INVALID
    assert path.read_text() == ""


async def test_without_any_secret_nothing_starts() -> None:
    with pytest.raises(ConfigError, match="no encryption secret"):
        provider(Salt())


async def test_a_data_directory_that_somebody_named_holds_the_key(tmp_path: Path) -> None:
    assert isinstance(provider(Salt(), tmp_path, EENGINE_DATA_DIR="d"), KeyFileProvider)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("secret/data/email/encryption", ("secret", "email/encryption")),
        ("/v1/secret/data/email", ("secret", "email")),
        ("kv/team/data/email", ("kv/team", "email")),
        ("secret/email/encryption", ("secret", "email/encryption")),
    ],
)
async def test_the_path_of_a_secret_is_understood_with_and_without_data(path: str, expected: tuple[str, str]) -> None:
    login = VaultLogin("http://v", "r", load_config([], {"EENGINE_SECRET": "x"}, Path("/")).secret, path, "k")  # type: ignore[arg-type]
    assert login.mount_and_path == expected


async def test_keys_that_come_later_are_waited_for_and_nothing_is_sealed_before() -> None:
    salt = Salt()
    salt.away = True
    source = provider(salt, EENGINE_SECRET="correct horse")
    secrets = await Secrets.start(source, first_retry=SHORT)
    assert (secrets.state, secrets.usable) == (SecretsState.STORE_DOWN, False)
    with pytest.raises(KeysUnavailable):
        secrets.seal("x", account="a", field="f")
    with pytest.raises(KeysUnavailable):
        await secrets.open("v1:k:AAAA:AAAA", account="a", field="f")
    salt.away = False
    async with asyncio.timeout(5):
        await secrets.wait_for_keys()
    assert secrets.state is SecretsState.READY
    await secrets.close()


async def test_without_patience_keys_that_are_missing_are_an_error_at_once() -> None:
    salt = Salt()
    salt.away = True
    with pytest.raises(KeysUnavailable):
        await Secrets.start(provider(salt, EENGINE_SECRET="x"), retry=False)


async def test_a_key_nobody_has_is_looked_for_once_and_not_for_every_secret(tmp_path: Path) -> None:
    path = _file(tmp_path, compose_ring({"k": bytes(32)}, "k").encode())
    secrets = await Secrets.start(
        provider(Salt(), tmp_path, EENGINE_SECRET_FILE=str(path)), refresh_every=timedelta(hours=1)
    )
    foreign = "v1:foreign:AAAAAAAAAAAAAAAA:AAAA"
    with pytest.raises(SecretUnreadable):
        await secrets.open(foreign, account="a", field="f")
    path.unlink()
    with pytest.raises(SecretUnreadable):
        await secrets.open(foreign, account="a", field="f")
    assert secrets.state is SecretsState.READY  # the file was not read again
    await secrets.close()
