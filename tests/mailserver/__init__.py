"""A private mail system for tests: real Dovecot and real Postfix in one temporary directory, on free loopback ports."""

from tests.mailserver.whole import MailServer

__all__ = ["MailServer"]
