"""HTML in answers: made safe, with its images, within what the bus carries and the time the caller has."""

from __future__ import annotations

import asyncio
from typing import Final

from postbus.imap_sync.html.images import Image
from postbus.imap_sync.operations.access import Session
from postbus.imap_sync.operations.answers import max_answer
from postbus.imap_sync.texts import Text
from postbus.imap_sync.web_safe import Wish, render_text

MIN_S: Final = 0.2  # for what was fetched in the last moment
TO_ANSWER_S: Final = 0.5  # left of the caller's time when HTML is given up and text told instead


def images_size(session: Session) -> int:
    """How many bytes of images to fetch: what an answer has room for, with the HTML they stand in."""
    return _html_size(session) * 9 // 10


async def as_wanted(session: Session, text: Text, images: list[Image], wish: Wish, *, ends_at: float) -> Text:
    """The text with its HTML as it is wanted. `ends_at`: when the caller's time is over, in seconds of the loop."""
    left_s = ends_at - asyncio.get_running_loop().time() - TO_ANSWER_S
    limit_s = max(left_s, MIN_S)
    return await render_text(text, images, wish, session.sanitiser, max_size=_html_size(session), limit_s=limit_s)


def _html_size(session: Session) -> int:
    """Bytes of JSON: most of an answer, for there are headers and the plain text in it too."""
    return max_answer(session.bus) * 3 // 4
