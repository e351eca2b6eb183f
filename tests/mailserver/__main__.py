"""Command line: `python -m tests.mailserver run|start|stop`."""

import sys

from tests.mailserver.whole import main

sys.exit(main(sys.argv[1:]))
