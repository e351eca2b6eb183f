"""What the owner of an account does for others: reading, downloads, filing. `OPERATIONS` answer, `STREAMS` stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from postbus.imap_sync.operations.access import Session
from postbus.imap_sync.operations.arranging import change_mailbox, create_mailbox, delete_mailbox
from postbus.imap_sync.operations.bulk import delete_messages, move_messages, update_messages
from postbus.imap_sync.operations.deleting import delete_message
from postbus.imap_sync.operations.downloads import Reply, send_attachment, send_source
from postbus.imap_sync.operations.filing import file_message
from postbus.imap_sync.operations.flagging import update_message
from postbus.imap_sync.operations.mailboxes import count_mailboxes, get_quota, resync
from postbus.imap_sync.operations.message import get_message
from postbus.imap_sync.operations.messages import list_messages, search_messages
from postbus.imap_sync.operations.moving import move_message
from postbus.imap_sync.operations.reference import get_reference
from postbus.imap_sync.operations.text import get_text
from postbus.imap_sync.operations.upload import upload_message

__all__ = ["OPERATIONS", "STREAMS", "Handler", "Reply", "Session", "StreamHandler"]

Handler = Callable[[Session, bytes, float], Awaitable[bytes]]
StreamHandler = Callable[[Session, bytes, float, Reply], Awaitable[None]]

OPERATIONS: Final[Mapping[str, Handler]] = {
    "mailboxes": count_mailboxes,
    "sync": resync,
    "quota": get_quota,
    "create-mailbox": create_mailbox,
    "change-mailbox": change_mailbox,
    "delete-mailbox": delete_mailbox,
    "messages": list_messages,
    "search": search_messages,
    "message": get_message,
    "update-message": update_message,
    "move-message": move_message,
    "delete-message": delete_message,
    "update-messages": update_messages,
    "move-messages": move_messages,
    "delete-messages": delete_messages,
    "text": get_text,
    "upload-message": upload_message,
    "reference": get_reference,
    "file": file_message,
}
STREAMS: Final[Mapping[str, StreamHandler]] = {"attachment": send_attachment, "source": send_source}
