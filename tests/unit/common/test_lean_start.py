"""What a process loads when it starts: nothing that only takes time."""

import subprocess
import sys


def test_the_bus_loads_neither_a_websocket_client_nor_a_mail_parser_and_leaves_both_to_others() -> None:
    code = """
import sys
import postbus.common.service
print([name for name in ("aiohttp", "fast_mail_parser", "hvac", "opentelemetry.sdk.trace") if name in sys.modules])
import aiohttp, fast_mail_parser
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
