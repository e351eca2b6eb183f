"""Messages as values: RFC 5322, 2045 to 2047, 2231 and 3676. Bytes in, values out; nothing here does I/O."""
