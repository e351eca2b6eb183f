"""Events that strangers made too large: thousands of recipients, a subject or a server's answer without end."""

from __future__ import annotations

import json
from typing import Any

# Characters a text and entries a list may keep, tried in this order until the body fits.
_CUTS = ((16_384, 1_000), (4_096, 200), (1_024, 25), (256, 5))


def cut_body(body: bytes, limit: int) -> bytes:
    """The JSON with long texts and lists cut, as little as brings it to `limit` bytes; its shape stays the same."""
    tree = json.loads(body)
    for characters, entries in _CUTS:
        body = json.dumps(_cut(tree, characters, entries), ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) <= limit:
            return body
    raise ValueError(f"an event is over {limit} bytes whatever is cut")


def _cut(tree: Any, characters: int, entries: int) -> Any:
    match tree:
        case str():
            return tree[:characters]
        case list():
            return [_cut(entry, characters, entries) for entry in tree[:entries]]
        case dict():
            return {name: _cut(value, characters, entries) for name, value in tree.items()}
        case _:
            return tree
