"""NATS: the event log, job queues, commands by request and reply, large bodies in chunks."""

from postbus.common.bus import nats_py as nats_py  # first: it decides what loading nats-py loads
