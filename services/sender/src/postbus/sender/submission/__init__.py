"""The SMTP submission server (RFC 6409; contract, section 26): another way into the same queue as the API."""
