"""The shared state, over the Redis protocol: accounts, mailboxes, settings. Only EVALSHA scripts of 6.2 commands."""
