"""What can be wrong with keys, and with what they sealed."""

from __future__ import annotations

from enum import StrEnum

from postbus.common.errors import PostbusError, Unavailable


class SecretsState(StrEnum):
    """How the last attempt to load the keys ended."""

    LOADING = "loading"  # the first attempt is under way
    READY = "ready"
    VAULT_DOWN = "vaultDown"
    VAULT_SEALED = "vaultSealed"
    LOGIN_FAILED = "loginFailed"
    PERMISSION_DENIED = "permissionDenied"
    PATH_MISSING = "pathMissing"
    KEY_MISSING = "keyMissing"  # there is a secret, but nothing at that key, or nothing in that file
    KEY_INVALID = "keyInvalid"
    FILE_UNSAFE = "fileUnsafe"
    FILE_UNREADABLE = "fileUnreadable"
    STORE_DOWN = "storeDown"  # the salt of a passphrase can't be had


class KeysUnavailable(Unavailable):
    """The keys can't be loaded now; `state` says why."""

    code = "SecretsUnavailable"

    def __init__(self, state: SecretsState, message: str) -> None:
        super().__init__(message)
        self.state = state


class SecretUnreadable(PostbusError):
    """A stored secret can't be opened: its key is gone (`missing_kid`), or it was changed or moved (None)."""

    code = "SecretUnreadable"

    def __init__(self, message: str, *, missing_kid: str | None = None) -> None:
        super().__init__(message)
        self.missing_kid = missing_kid
