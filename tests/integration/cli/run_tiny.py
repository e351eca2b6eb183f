"""`postbus up` with the smallest services; `--broken` adds one that dies at once."""

import sys

from postbus.cli.supervisor.plan import Service
from postbus.cli.supervisor.start import run_up
from postbus.common.errors import PostbusError

HERE = "tests.integration.cli"
SERVICES = [
    Service("sender", f"{HERE}.tiny_idle"),
    Service("imap-sync", f"{HERE}.tiny_idle"),
    Service("api", f"{HERE}.tiny_api"),
]

if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--broken"]
    broken = [Service("webhooks", f"{HERE}.tiny_broken")] if "--broken" in sys.argv else []
    try:
        sys.exit(run_up(arguments, sandbox=False, services=[*broken, *SERVICES]))
    except PostbusError as error:
        sys.exit(error.message)
