"""IMAP: connections, the message index, sync, commands on messages and mailboxes."""
