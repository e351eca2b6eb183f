"""What all services agree on: ids, events, errors, the bus, the store, secrets, MIME."""
