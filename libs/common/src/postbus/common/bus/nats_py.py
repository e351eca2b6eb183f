"""nats-py, loaded without what it takes along where that happens to be installed.

* `aiohttp`, for NATS over WebSocket, which we do not offer: 0.2 s at every start, and memory in every process.
* `fast_mail_parser`, for message headers, whose values become lists then.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_UNWANTED = ("aiohttp", "fast_mail_parser")


def _load_without(module: str, unwanted: tuple[str, ...]) -> ModuleType:
    """Import a module while importing these fails; they are as before afterwards."""
    before = {name: sys.modules.pop(name) for name in unwanted if name in sys.modules}
    vars(sys)["modules"].update(dict.fromkeys(unwanted))  # None: importing it fails (language reference, 5.3.1)
    try:
        return importlib.import_module(module)
    finally:
        for name in unwanted:
            del sys.modules[name]
        sys.modules.update(before)


_client = _load_without("nats.aio.client", _UNWANTED)
vars(_client)["parse_email"] = None  # where somebody else had loaded it before
