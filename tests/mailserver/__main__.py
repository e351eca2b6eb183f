"""Command line: `python -m tests.mailserver run|start|stop|status|doveadm`."""

import sys

from tests.mailserver.command_line import main

sys.exit(main(sys.argv[1:]))
