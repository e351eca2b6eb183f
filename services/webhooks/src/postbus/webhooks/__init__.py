"""Delivers events to HTTP receivers: in order per account, retried for 72 hours."""
