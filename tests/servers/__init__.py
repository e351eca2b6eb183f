"""Real servers for tests, each on free loopback ports, started in milliseconds and gone with the test process."""

from tests.servers.auth_server import AuthServer, CredentialAnswer, CredentialRequest
from tests.servers.bao import BaoServer
from tests.servers.nats import NatsServer
from tests.servers.ports import free_port, free_ports
from tests.servers.valkey import ValkeyServer
from tests.servers.webhook_sink import Answer, ReceivedRequest, WebhookSink

__all__ = [
    "Answer",
    "AuthServer",
    "BaoServer",
    "CredentialAnswer",
    "CredentialRequest",
    "NatsServer",
    "ReceivedRequest",
    "ValkeyServer",
    "WebhookSink",
    "free_port",
    "free_ports",
]
