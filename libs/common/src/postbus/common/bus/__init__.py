"""NATS: the event log, job queues, commands by request and reply, large bodies in chunks."""
