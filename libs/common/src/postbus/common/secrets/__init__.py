"""Stored credentials: always encrypted, with keys from Vault, the environment or a file."""

from postbus.common.secrets.errors import KeysUnavailable, SecretsState, SecretUnreadable
from postbus.common.secrets.keeper import Secrets
from postbus.common.secrets.keyring import KeyRing
from postbus.common.secrets.providers import KeyProvider, SaltStore, choose_provider

__all__ = [
    "KeyProvider",
    "KeyRing",
    "KeysUnavailable",
    "SaltStore",
    "SecretUnreadable",
    "Secrets",
    "SecretsState",
    "choose_provider",
]
