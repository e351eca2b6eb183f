"""Where keys come from: Vault, the environment, a file that somebody made, or a file that we make ourselves."""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from postbus.common.config import Config, ConfigError
from postbus.common.errors import Unavailable
from postbus.common.secrets.errors import KeysUnavailable, SecretsState
from postbus.common.secrets.keyring import KEY_SIZE, KeyRing, compose_ring, derive_ring, kid_of, parse_ring

if TYPE_CHECKING:
    from postbus.common.secrets.vault import VaultLogin

log = structlog.get_logger()

KEY_FILE = "keys.json"
MAX_KEY_FILE_SIZE = 64 * 1024  # bytes


class KeyProvider(Protocol):
    """One place where keys are kept. `load` is called again each minute, so it sees rotated keys."""

    async def load(self) -> KeyRing:
        """Read the keys; KeysUnavailable with the reason when that is not possible now."""


class SaltStore(Protocol):
    """Keeps the salt of a passphrase where all replicas find the same one."""

    async def salt(self) -> bytes:
        """The salt; drawn by whoever asks first. Unavailable while the store is away."""


class RingMaker:
    """Makes a ring of what a provider read: a JSON ring as it is, anything else as a passphrase, derived once."""

    def __init__(self, salt_store: SaltStore) -> None:
        self._salt_store = salt_store
        self._derived: tuple[str, KeyRing] | None = None

    async def make(self, text: str) -> KeyRing:
        """The ring of this text; KeysUnavailable if it is empty, malformed, or its salt can't be had."""
        if not text.strip():
            raise KeysUnavailable(SecretsState.KEY_MISSING, "the encryption secret is empty")
        if text.lstrip().startswith("{"):
            return _ring_of(text)
        if self._derived is None or self._derived[0] != text:
            self._derived = text, await asyncio.to_thread(derive_ring, text, await self._salt())
        return self._derived[1]

    async def _salt(self) -> bytes:
        try:
            return await self._salt_store.salt()
        except Unavailable as error:
            raise KeysUnavailable(SecretsState.STORE_DOWN, f"no salt for the passphrase: {error.message}") from error


class VaultProvider:
    """A key of a secret in Vault."""

    def __init__(self, login: VaultLogin, ring_maker: RingMaker) -> None:
        from postbus.common.secrets.vault import VaultReader  # its client takes 0.1 s to load

        self._reader = VaultReader(login)
        self._ring_maker = ring_maker

    async def load(self) -> KeyRing:
        """The ring of the newest version of that secret."""
        return await self._ring_maker.make(await self._reader.read())


class EnvironmentProvider:
    """The secret as it was in the environment or on the command line: it can't change while we run."""

    def __init__(self, secret: str, ring_maker: RingMaker) -> None:
        self._secret = secret
        self._ring_maker = ring_maker

    async def load(self) -> KeyRing:
        """The ring of that secret."""
        return await self._ring_maker.make(self._secret)


class SecretFileProvider:
    """A file that somebody mounted, such as a Kubernetes secret: its modes are theirs to choose."""

    def __init__(self, path: Path, ring_maker: RingMaker) -> None:
        self._path = path
        self._ring_maker = ring_maker

    async def load(self) -> KeyRing:
        """The ring of what the file holds now."""
        return await self._ring_maker.make((await asyncio.to_thread(_read, self._path)).rstrip("\r\n"))


class KeyFileProvider:
    """`keys.json` of a data directory, made at the first start, and refused when others than its owner can read it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / KEY_FILE

    async def load(self) -> KeyRing:
        """The ring of the file; made before if there is none."""
        return await asyncio.to_thread(self._load)

    def _load(self) -> KeyRing:
        try:
            if not self._path.exists():
                _create_key_file(self._path)
            mode = stat.S_IMODE(self._path.stat().st_mode)
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if mode & 0o077:
            reason = f"{self._path} can be read by others (mode {mode:04o}): set it to 0600"
            raise KeysUnavailable(SecretsState.FILE_UNSAFE, reason)
        return _ring_of(_read(self._path))


def choose_provider(settings: Config, salt_store: SaltStore) -> KeyProvider:
    """Vault if there is one, else the environment, else a key file in the data directory that somebody named.

    ConfigError when there is none of them: secrets are never stored in clear text.
    """
    ring_maker = RingMaker(salt_store)
    if settings.vault_addr:
        return VaultProvider(_vault_login(settings), ring_maker)
    if settings.secret_file:
        return SecretFileProvider(settings.secret_file, ring_maker)
    if settings.secret:
        return EnvironmentProvider(settings.secret.get_secret_value(), ring_maker)
    if settings.given_data_dir:
        return KeyFileProvider(settings.given_data_dir)
    raise ConfigError(["no encryption secret: set EENGINE_SECRET, EENGINE_SECRET_FILE, VAULT_ADDR or EENGINE_DATA_DIR"])


def _vault_login(settings: Config) -> VaultLogin:
    from postbus.common.secrets.vault import VaultLogin

    if not (settings.vault_addr and settings.vault_role_id and settings.vault_secret_id and settings.vault_path):
        raise ConfigError(["VAULT_ADDR: needs VAULT_ROLE_ID, VAULT_SECRET_ID, VAULT_PATH too"])
    return VaultLogin(
        address=settings.vault_addr,
        role_id=settings.vault_role_id,
        secret_id=settings.vault_secret_id,
        path=settings.vault_path,
        key=settings.vault_key,
    )


def _ring_of(text: str) -> KeyRing:
    try:
        return parse_ring(text)
    except ValueError as error:
        raise KeysUnavailable(SecretsState.KEY_INVALID, f"the encryption secret {error}") from error


def _create_key_file(path: Path) -> None:
    """Write a new key where no file is, whole or not at all; if another process is faster, its file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = os.urandom(KEY_SIZE)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{kid_of(os.urandom(KEY_SIZE))}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(compose_ring({kid_of(key): key}, kid_of(key)))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
            log.warning("encryption key made: keep a copy, without it stored passwords are lost", path=str(path))
    finally:
        draft.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE_SIZE + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(content) > MAX_KEY_FILE_SIZE:
        raise KeysUnavailable(SecretsState.KEY_INVALID, f"{path} is larger than {MAX_KEY_FILE_SIZE} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise KeysUnavailable(SecretsState.KEY_INVALID, f"{path} is not UTF-8 text") from None


def _unreadable(path: Path, error: OSError) -> KeysUnavailable:
    return KeysUnavailable(SecretsState.FILE_UNREADABLE, f"{path}: {error.strerror}")
