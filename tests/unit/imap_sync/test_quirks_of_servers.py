"""How servers behave otherwise than the standard says: each habit of the study that takes more than a parser."""

import asyncio
import base64

import pytest

from postbus.common.credentials import Credentials
from postbus.common.errors import AuthenticationFailed, CommandRefused, ConnectionLost, NotFound, ProtocolError
from postbus.imap_sync import patience
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from postbus.imap_sync.mailbox_state import refusals_of
from postbus.imap_sync.profiles import NETEASE
from postbus.imap_sync.protocol.values import EnvelopeAddress, Fetched, MailboxStatus, Quota, UidRange, Vanished
from postbus.imap_sync.search import any_of
from tests.unit.imap_sync.scripted_imap import PATIENCE_S, Peer, Play, scripted, session

pytestmark = pytest.mark.anyio

THROTTLED = b"BAD Request is throttled. Suggested Backoff Time: 2 milliseconds"
ONE = [UidRange(1, 1)]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_S", 0.001)


async def rows_of(connection: ImapConnection, *items: str, last: int = 3) -> list[Fetched]:
    answers = connection.fetch([UidRange(1, last)], ("UID", *items))
    return [row async for row in answers if not isinstance(row, Vanished)]


async def opened(play: Play, credentials: Credentials | None, greeting: bytes) -> ImapConnection:
    async def greet(peer: Peer) -> None:
        peer.send(greeting)
        await play(peer)

    async with scripted(greet) as port:
        connection = await open_connection(Endpoint("127.0.0.1", port, secure=False), credentials)
        connection.abort()
        return connection


async def test_who_is_let_in_without_a_mailbox_has_the_wrong_credentials() -> None:
    """M365 says so at the first command after the login (quirk 2)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"LOGIN")
        await peer.answer(b"CAPABILITY", status=b"BAD User is authenticated but not connected.")

    with pytest.raises(AuthenticationFailed, match="not connected"):
        await opened(play, Credentials("jan", "x"), b"* OK [CAPABILITY IMAP4rev1] hi")


@pytest.mark.parametrize("command", ["LIST", "SELECT", "FETCH"])
async def test_the_same_at_any_later_command(command: str) -> None:
    """(quirk 2)."""

    async def play(peer: Peer) -> None:
        tag = (await peer.line()).partition(b" ")[0]
        peer.send(tag + b" BAD User is authenticated but not connected.")

    async with session(play) as connection:
        with pytest.raises(AuthenticationFailed):
            match command:
                case "LIST":
                    await connection.list_mailboxes(with_status=False)
                case "SELECT":
                    await connection.select("INBOX")
                case _:
                    await rows_of(connection, "FLAGS")


async def test_a_throttled_fetch_waits_and_goes_on_where_it_was() -> None:
    """M365 (quirk 3) (trap 16)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID FETCH 1:3", b"* 1 FETCH (UID 1 RFC822.SIZE 5)", status=THROTTLED)
        await peer.answer(b"UID FETCH 1:3", status=THROTTLED)
        rows = [b"* %d FETCH (UID %d RFC822.SIZE 5)" % (uid, uid) for uid in (1, 2, 3)]
        await peer.answer(b"UID FETCH 1:3", *rows)

    async with session(play) as connection:
        assert [row.uid for row in await rows_of(connection, "RFC822.SIZE")] == [1, 2, 3]


async def test_any_throttled_command_waits_but_not_for_ever() -> None:
    """(quirk 3) (trap 16)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", status=THROTTLED)
        await peer.answer(b"SELECT", b"* 1 EXISTS")
        await peer.answer(b"UID FETCH", status=THROTTLED)
        await peer.answer(b"UID FETCH", b"* 1 FETCH (UID 1 FLAGS ())")
        for _ in range(patience.TRIES + 1):
            await peer.answer(b"UID SEARCH", status=THROTTLED)
        await peer.answer(b"LOGOUT", status=THROTTLED)

    async with session(play) as connection:
        await connection.select("INBOX")
        assert await connection.fetch_flags_compact(ONE) == [(1, ())]
        with pytest.raises(CommandRefused, match="throttled"):
            await connection.search(["ALL"])
        await connection.logout()


async def test_waits_double_up_to_thirty_seconds_whatever_the_server_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """1, 2, 4, 8, 16, 30 (quirk 3)."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(patience, "FIRST_S", 1.0)
    monkeypatch.setattr("postbus.imap_sync.patience.asyncio.sleep", sleep)
    waiting = patience.Patience(30.0)
    refused = CommandRefused("Request is throttled.", status="BAD")
    for _ in range(6):
        await waiting.wait(refused)
    with pytest.raises(CommandRefused):
        await waiting.wait(refused)
    assert slept == [1, 2, 4, 8, 16, 30]
    await patience.Patience(30.0).wait(CommandRefused("Request is throttled. Suggested Backoff Time: 86400000"))
    await patience.Patience(30.0).wait(CommandRefused("Request is throttled. Suggested Backoff Time: 5000"))
    assert slept[6:] == [30, 5]


async def test_a_throttled_listing_is_no_proof_that_an_option_is_not_understood() -> None:
    """(quirk 32) (trap 16)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED', status=THROTTLED)
        await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED', b'* LIST () "/" INBOX')

    async with session(play, b"LIST-EXTENDED") as connection:
        assert len(await connection.list_mailboxes(with_status=False)) == 1


async def test_subscriptions_come_with_list_where_lsub_is_gone() -> None:
    """Exchange in rev2 mode (quirk 7)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED CHILDREN', b'* LIST (\\Subscribed) "/" INBOX')

    async def play_plainly(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*"', b'* LIST () "/" INBOX')
        await peer.answer(b'LSUB "" "*"', status=b"BAD Command not supported in IMAP4rev2 mode")

    for attempt, capabilities in ((play, b"IMAP4rev2 LIST-EXTENDED"), (play_plainly, b"IMAP4rev2")):
        async with session(attempt, capabilities) as connection:
            (inbox,) = await connection.list_mailboxes(with_status=False)
            assert "\\subscribed" in inbox.attributes


async def test_what_one_connection_was_refused_the_next_one_does_not_ask_for() -> None:
    """A server that fails every command after one that it refused (quirk 8)."""
    refusals_of.cache_clear()
    connections = 0

    async def play(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        peer.send(b"* PREAUTH [CAPABILITY IMAP4rev1 ENABLE CONDSTORE LIST-EXTENDED SPECIAL-USE] hi")
        if connections == 1:
            await peer.answer(b"ENABLE CONDSTORE", status=b"BAD Command Argument Error. 11")
            await peer.answer(b"LIST", status=b"BAD Command Argument Error. 11")
            await peer.command(b"LIST")
            peer.close()
            return
        if connections == 2:
            await peer.answer(b'LIST "" "*" RETURN (SUBSCRIBED CHILDREN)', b'* LIST () "/" INBOX')
        await peer.gone()

    async with scripted(play) as port:
        for attempt in (1, 2):
            connection = await open_connection(Endpoint("127.0.0.1", port, secure=False), None)
            listing = connection.list_mailboxes(with_status=False)
            if attempt == 1:
                with pytest.raises(ConnectionLost):
                    await listing
            else:
                assert len(await listing) == 1
            connection.abort()


async def test_a_section_that_was_left_out_is_asked_for_again() -> None:
    """Apache James answers one of several (quirk 17) (trap 27)."""

    async def play(peer: Peer) -> None:
        await peer.answer(
            b"UID FETCH 1:3 (UID BODY.PEEK[1.MIME] BODY.PEEK[1]<0.100>)",
            b'* 1 FETCH (UID 1 BODY[1.MIME] "m1")',
            b'* 2 FETCH (UID 2 BODY[1.MIME] "m2" BODY[1]<0> "b2")',
            b'* 3 FETCH (UID 3 BODY[1.MIME] "m3")',
        )
        await peer.answer(b"UID FETCH 1,3 (UID BODY.PEEK[1]<0.100>)", b'* 1 FETCH (UID 1 BODY[1]<0> "b1")')

    async with session(play) as connection:
        rows = {row.uid: row.sections for row in await rows_of(connection, "BODY.PEEK[1.MIME]", "BODY.PEEK[1]<0.100>")}
        assert rows == {1: {"1.MIME": b"m1", "1": b"b1"}, 2: {"1.MIME": b"m2", "1": b"b2"}, 3: {"1.MIME": b"m3"}}


async def test_two_rows_of_one_message_add_up() -> None:
    """(quirk 17)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID FETCH 1 ", b'* 1 FETCH (UID 1 BODY[1.MIME] "m")', b'* 1 FETCH (UID 1 BODY[1]<0> "b")')

    async with session(play) as connection:
        (row,) = await rows_of(connection, "BODY.PEEK[1.MIME]", "BODY.PEEK[1]<0.9>", last=1)
        assert row.sections == {"1.MIME": b"m", "1": b"b"}


async def test_addresses_that_an_envelope_lacks_are_read_from_the_headers() -> None:
    """Lark Mail (trap 5)."""
    header = b"From: =?utf-8?q?J=C3=BCrgen?= <j@x.test>\r\nTo: a@x.test,\r\n b@x.test\r\nSender: nobody\r\n\r\n"

    async def play(peer: Peer) -> None:
        await peer.answer(
            b"UID FETCH 1:3 (UID ENVELOPE)",
            b'* 1 FETCH (UID 1 ENVELOPE (NIL "one" NIL NIL NIL NIL NIL NIL NIL "<1@x>"))',
            b'* 2 FETCH (UID 2 ENVELOPE (NIL "two" ((NIL NIL "c" "x.test")) NIL NIL NIL NIL NIL NIL NIL))',
        )
        await peer.answer(
            b"UID FETCH 1 (UID BODY.PEEK[HEADER.FIELDS (FROM SENDER REPLY-TO TO CC BCC)]<0.65536>)",
            b"* 1 FETCH (UID 1 BODY[HEADER.FIELDS (FROM SENDER REPLY-TO TO CC BCC)]<0> {%d}\r\n%s)"
            % (len(header), header),
        )

    async with session(play) as connection:
        rows = {row.uid: row.envelope for row in await rows_of(connection, "ENVELOPE")}
        found = rows[1]
        assert found is not None and found.subject == b"one"
        assert found.from_ == (EnvelopeAddress("Jürgen".encode(), b"j", b"x.test"),)
        assert [address.mailbox for address in found.to] == [b"a", b"b"]
        assert found.sender == (EnvelopeAddress(b"nobody", None, None),) or found.sender[0].host is None


async def test_a_message_whose_structure_can_not_be_read_keeps_its_envelope() -> None:
    """BlueMind (quirk 16) (trap 25)."""

    async def play(peer: Peer) -> None:
        await peer.answer(
            b"UID FETCH 1:3 (UID RFC822.SIZE BODYSTRUCTURE)",
            b'* 1 FETCH (UID 1 RFC822.SIZE 9 BODYSTRUCTURE (("TEXT" "PLAIN") "MIXED")',
            b'* 2 FETCH (UID 2 RFC822.SIZE 9 BODYSTRUCTURE ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1))',
            b'* 3 FETCH (UID 3 RFC822.SIZE 9 BODYSTRUCTURE ("TEXT)',
        )
        await peer.answer(b"UID FETCH 1,3 (UID RFC822.SIZE)", b"* 1 FETCH (UID 1 RFC822.SIZE 9)")

    async with session(play) as connection:
        rows = {row.uid: row for row in await rows_of(connection, "RFC822.SIZE", "BODYSTRUCTURE")}
        assert (rows[1].size, rows[1].structure, rows[1].broken) == (9, None, False)
        assert rows[2].structure is not None and rows[3].broken


async def test_a_refusal_to_give_the_rest_leaves_what_there_is() -> None:
    """(quirk 16) (quirk 17)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID FETCH 1:3", b'* 1 FETCH (UID 1 BODY[1.MIME] "m1")')
        await peer.answer(b"UID FETCH 1 ", status=b"NO no")

    async with session(play) as connection:
        assert [row.uid for row in await rows_of(connection, "BODY.PEEK[1.MIME]", "BODY.PEEK[1]<0.9>")] == [1]


async def test_a_late_piece_is_not_taken_for_the_next_one() -> None:
    """Apache James (quirk 18) (trap 27)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID FETCH 7 (UID BODY.PEEK[1]<0.4>)")
        await peer.answer(b"UID FETCH 7 (UID BODY.PEEK[1]<0.4>)", b'* 1 FETCH (UID 7 BODY[1]<0> "abcd")')
        late = b'* 1 FETCH (UID 7 BODY[1]<0> "abcd")'
        await peer.answer(b"UID FETCH 7 (UID BODY.PEEK[1]<4.4>)", late, b'* 1 FETCH (UID 7 BODY[1]<4> "ef")')

    async with session(play) as connection:
        assert b"".join([piece async for piece in connection.stream_section(7, "1", chunk_size=4)]) == b"abcdef"


async def test_a_server_that_gives_more_than_was_asked_for_in_the_middle_ends_the_download() -> None:
    """(quirk 21) (trap 27)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID FETCH 7", b'* 1 FETCH (UID 7 BODY[1]<0> "abcd")')
        await peer.answer(b"UID FETCH 7", b'* 1 FETCH (UID 7 BODY[1] "abcdefgh")')

    async with session(play) as connection:
        pieces = connection.stream_section(7, "1", chunk_size=4)
        assert await anext(pieces) == b"abcd"
        with pytest.raises(ProtocolError):
            await anext(pieces)


async def test_a_message_without_an_answer_is_asked_for_three_times() -> None:
    """(quirk 18)."""

    async def play(peer: Peer) -> None:
        for _ in range(3):
            await peer.answer(b"UID FETCH 7")
        await peer.answer(b"NOOP")

    async with session(play) as connection:
        with pytest.raises(NotFound):
            await anext(connection.stream_section(7, ""))
        await connection.noop()


async def test_nobody_acts_for_somebody_else() -> None:
    """Zimbra lets administrators in by the authorisation identity; ours is always empty (quirk 23)."""

    async def play(peer: Peer) -> None:
        token = base64.b64encode(b"\0admin@x.test\0secret")
        await peer.answer(b"AUTHENTICATE PLAIN " + token, status=b"OK [CAPABILITY IMAP4rev1] in")

    await opened(play, Credentials("admin@x.test", "secret"), b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi")


async def test_a_tagged_bye_ends_the_connection() -> None:
    """(quirk 29)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"NOOP")
        peer.send(tag + b" BYE [UNAVAILABLE] over")
        await peer.gone()

    async with session(play) as connection:
        with pytest.raises(ConnectionLost, match="over"):
            await connection.noop()
        assert connection.closed


async def test_where_there_is_no_namespace_the_root_of_the_list_is_the_prefix() -> None:
    """(quirk 35)."""
    for row, prefix in (
        (b'* LIST (\\Noselect) "." "INBOX."', "INBOX."),
        (b'* LIST (\\Noselect) "/" mail', "mail/"),
        (b'* LIST (\\Noselect) "/" ""', ""),
        (b'* LIST (\\Noselect) NIL ""', ""),
        (b"* OK nothing", ""),
    ):

        async def play(peer: Peer, row: bytes = row) -> None:
            await peer.answer(b'LIST "" ""', row)

        async with session(play) as connection:
            assert await connection.personal_prefix() == prefix


async def test_a_path_with_a_delimiter_in_front_is_selected_as_the_server_wrote_it() -> None:
    """(quirk 34)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b'LIST "" "*"', b'* LIST () "/" "/Work"', b'* LIST () "/" INBOX')
        await peer.answer(b'LSUB "" "*"')
        await peer.answer(b'SELECT "/Work"', b"* 1 EXISTS")

    async with session(play) as connection:
        assert [row.path for row in await connection.list_mailboxes(with_status=False)] == ["Work", "INBOX"]
        assert (await connection.select("Work")).exists == 1


@pytest.mark.parametrize("again", [True, False])
async def test_an_id_of_one_word_is_asked_for_again_after_the_login(again: bool) -> None:
    """(quirk 38)."""

    async def play(peer: Peer) -> None:
        early = b'* ID ("name" "x")' if again else b'* ID ("name" "Zimbra" "version" "9")'
        tag = await peer.command(b'ID ("name" "Postbus"')
        peer.send(early, tag + b" OK")
        await peer.answer(b"LOGIN", status=b"OK [CAPABILITY IMAP4rev1 ID] in")
        if again:
            await peer.answer(b"ID", b'* ID ("name" "Zimbra" "version" "9")')

    connection = await opened(play, Credentials("jan", "x"), b"* OK [CAPABILITY IMAP4rev1 ID] hi")
    assert connection.profile.name == "zimbra"


async def test_163_is_told_who_we_are_though_it_does_not_offer_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """(trap 4)."""
    monkeypatch.setattr("postbus.imap_sync.profiles._BY_DOMAIN", {"0.0.1": NETEASE})

    async def play(peer: Peer) -> None:
        await peer.answer(b'ID ("name" "Postbus"', status=b"BAD never heard of")
        await peer.answer(b"LOGIN", status=b"OK [CAPABILITY IMAP4rev1] in")

    await opened(play, Credentials("jan", "x"), b"* OK [CAPABILITY IMAP4rev1] hi")


async def test_a_search_without_an_answer_is_empty_only_when_it_happens_twice() -> None:
    """(quirk 44)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID SEARCH UNSEEN")
        await peer.answer(b"UID SEARCH UNSEEN", b"* SEARCH 4")
        for _ in range(2):
            await peer.answer(b"UID SEARCH UNSEEN")

    async with session(play) as connection:
        assert await connection.search(["UNSEEN"]) == [UidRange(4, 4)]
        assert await connection.search(["UNSEEN"]) == []


async def test_a_search_that_loses_all_messages_is_believed_by_nobody() -> None:
    """(quirk 20) (quirk 44)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 5 EXISTS")
        await peer.answer(b"UID SEARCH RETURN (ALL) ALL", b'* ESEARCH (TAG "a") UID')
        await peer.answer(b"UID SEARCH ALL", b"* SEARCH 1 2 3 4 5")
        await peer.answer(b"UID SEARCH RETURN (ALL) ALL", b'* ESEARCH (TAG "a") UID COUNT 5')
        await peer.answer(b"UID SEARCH ALL", b"* SEARCH")

    async with session(play, b"ESEARCH") as connection:
        await connection.select("INBOX")
        assert await connection.search(["ALL"]) == [UidRange(1, 5)]
        with pytest.raises(ProtocolError):
            await connection.search(["ALL"])


async def test_a_set_that_is_refused_in_an_empty_mailbox_finds_nothing() -> None:
    """(quirk 45)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"SELECT", b"* 0 EXISTS")
        await peer.answer(b"UID FETCH 1:4294967295 (UID FLAGS)", status=b"BAD The specified message set is invalid.")
        await peer.answer(b"UID FETCH 1:3", status=b"BAD The specified message set is invalid.")
        await peer.answer(b"UID SEARCH UID 1:5", status=b"NO invalid")

    async with session(play) as connection:
        await connection.select("INBOX")
        assert await connection.fetch_flags_compact([UidRange(1, 4294967295)]) == []
        assert await rows_of(connection, "RFC822.SIZE") == []
        assert await connection.search(["UID", "1:5"]) == []


async def test_a_storage_limit_is_asked_for_by_the_names_of_its_roots() -> None:
    """(quirk 50)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"GETQUOTAROOT", b'* QUOTAROOT INBOX {4}\r\n\xc3\xa4 x ""')
        tag = await peer.command(b"GETQUOTA {4}")
        peer.send(b"+ go on")
        assert await peer.literal(6) == b"\xc3\xa4 x\r\n"
        peer.send(tag + b" NO what")
        await peer.answer(b'GETQUOTA ""', b'* QUOTA "" (STORAGE 1 2)')

    async with session(play, b"QUOTA") as connection:
        assert await connection.quota() == Quota(1024, 2048)


def test_an_or_inside_of_an_or_is_in_parentheses() -> None:
    """(quirk 51)."""
    keys = [("EMAILID", name) for name in "abc"]
    assert " ".join(any_of(keys)) == "OR EMAILID a ( OR EMAILID b EMAILID c )"


async def test_parentheses_reach_the_server_without_spaces_inside() -> None:
    """(quirk 51)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID SEARCH OR UID 1 (OR UID 2 UID 3)", b"* SEARCH 2")

    async with session(play) as connection:
        assert await connection.search(any_of([("UID", "1"), ("UID", "2"), ("UID", "3")])) == [UidRange(2, 2)]


async def test_an_idle_that_the_server_ends_begins_again() -> None:
    """(quirk 53)."""

    async def play(peer: Peer) -> None:
        for _ in range(2):
            tag = await peer.command(b"IDLE")
            peer.send(b"+ idling", tag + b" OK that is enough")
        tag = await peer.command(b"IDLE")
        peer.send(b"+ idling", b"* 3 EXISTS")
        assert await peer.line() == b"DONE"
        peer.send(tag + b" OK")

    async with session(play, b"IDLE") as connection:
        for _ in range(3):
            await asyncio.wait_for(connection.idle(max_s=60), PATIENCE_S)
        assert connection.exists == 3


async def test_a_server_that_is_busy_may_idle_again_later() -> None:
    """(quirk 53) (trap 16)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"IDLE", status=THROTTLED)
        tag = await peer.command(b"IDLE")
        peer.send(b"+ idling", tag + b" OK enough")

    async with session(play, b"IDLE") as connection:
        await connection.idle(max_s=0.01)
        await connection.idle(max_s=0.01)


async def test_everything_works_without_utf8_accept_and_it_is_never_enabled() -> None:
    """Names in modified UTF-7 and names in raw UTF-8 are both understood (RFC 6855 is not needed)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"ENABLE CONDSTORE", b"* ENABLED CONDSTORE")
        await peer.answer(b'LIST "" "*"', b'* LIST () "/" "Entw&APw-rfe"', '* LIST () "/" "Größe"'.encode())
        await peer.answer(b'LSUB "" "*"')
        await peer.answer(b'LIST "" "INBOX"')
        await peer.answer(b'LSUB "" "INBOX"')
        await peer.answer(b'STATUS "Entw&APw-rfe"', b'* STATUS "Entw&APw-rfe" (MESSAGES 1)')
        tag = await peer.command(b"STATUS {7}")
        peer.send(b"+ ")
        assert await peer.line() == "Größe (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)".encode()
        peer.send('* STATUS "Größe" (MESSAGES 2)'.encode(), tag + b" OK")

    async with session(play, b"ENABLE UTF8=ACCEPT CONDSTORE") as connection:
        listed = await connection.list_mailboxes(with_status=False)
        assert [row.path for row in listed] == ["Entwürfe", "Größe"]
        assert await connection.statuses(["Entwürfe", "Größe"]) == {
            "Entwürfe": MailboxStatus(1),
            "Größe": MailboxStatus(2),
        }


@pytest.mark.parametrize("code", ["ALREADYEXISTS", "OVERQUOTA", "TRYCREATE"])
async def test_codes_of_refusals_reach_the_caller(code: str) -> None:
    """(trap 33)."""

    async def play(peer: Peer) -> None:
        for command in (b"CREATE", b"RENAME", b"APPEND", b"UID COPY"):
            await peer.answer(command, status=f"NO [{code}] no".encode())

    async with session(play) as connection:
        for attempt in (
            connection.create_mailbox("x"),
            connection.rename_mailbox("x", "y"),
            connection.append("x", b"hello"),
            connection.copy(ONE, "x"),
        ):
            with pytest.raises(CommandRefused) as caught:
                await attempt
            assert caught.value.server_code == code
