"""A private mail system for tests: real Dovecot and real Postfix in one temporary directory, on free loopback ports."""

from tests.mailserver.client import MailServer
from tests.mailserver.messages import sample_message

__all__ = ["MailServer", "sample_message"]
