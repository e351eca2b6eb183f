"""IMAP as bytes and values: framing, parsing, composing; no sockets, no clocks (RFC 9051, RFC 3501)."""
