"""The wire: one IMAP connection as commands and responses. The only place that knows aioimaplib.

Of aioimaplib we keep commands, tags, timers and states. Framing, dispatch, waiting and the end of a connection are
ours: no recursion, no answer mixed with another, and everybody hears at once when the connection is gone. One command
is in flight; the others queue. Who is cancelled in the middle leaves a command behind whose answer is read and dropped
before the next one, or, where bytes of ours are missing, a closed connection.
"""

from postbus.imap_sync.wire.client import connect
from postbus.imap_sync.wire.command import FLAGS, ROWS, SELECTING, Handler, Limit
from postbus.imap_sync.wire.wire import LONG_S, Wire

__all__ = ["FLAGS", "LONG_S", "ROWS", "SELECTING", "Handler", "Limit", "Wire", "connect"]
