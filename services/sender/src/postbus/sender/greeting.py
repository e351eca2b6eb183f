"""How we introduce ourselves (RFC 5321, 4.1.1.1)."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_EHLO_NAME: Final = "[127.0.0.1]"  # a name that resolves nowhere is refused more often than a literal

_DOMAIN: Final = re.compile(
    r"(?=.{1,255}$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_LITERAL: Final = re.compile(r"\[[0-9A-Fa-f:.IPv]{3,60}\]")
_ONLY_DIGITS: Final = re.compile(r"[0-9.]+")


def ehlo_name(*wishes: str | None) -> str:
    """The first wish that servers accept as a name; some refuse underscores and bare IP addresses."""
    return next((wish for wish in wishes if wish and is_ehlo_name(wish)), DEFAULT_EHLO_NAME)


def is_ehlo_name(name: str) -> bool:
    """Whether this is a domain name or an address literal."""
    return bool(_LITERAL.fullmatch(name)) or bool(_DOMAIN.fullmatch(name) and not _ONLY_DIGITS.fullmatch(name))
