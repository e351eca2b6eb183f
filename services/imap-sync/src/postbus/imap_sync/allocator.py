"""Giving memory back: a TLS connection needs 256 KB to read a burst, and nothing of that while it idles.

glibc learns from the first such buffer that is freed to keep all of that size in its heap, where they stay for ever.
Told not to, a connection that has brought a burst and idles holds 270 instead of 450 KB.
"""

from __future__ import annotations

import ctypes
from typing import Final

LARGE: Final = 64 * 1024  # bytes

_M_MMAP_THRESHOLD: Final = -3  # mallopt(3)


def give_back_large_blocks() -> bool:
    """Take large blocks from the system and give them back when they are freed; False where the C library can't."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl, macOS
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE))
