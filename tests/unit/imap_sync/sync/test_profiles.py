"""Providers are known by their host, greeting, capabilities and ID, and treated as they need it (traps 2, 3, 4, 41)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync import profiles
from postbus.imap_sync.profiles import GENERIC, Facts, Keepalive, Profile, profile_of_host, recognise

ALL = [value for value in vars(profiles).values() if isinstance(value, Profile)]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("imap.gmail.com", "gmail"),
        ("outlook.office365.com", "outlook"),
        ("IMAP.Mail.Yahoo.COM.", "yahoo"),
        ("imap.aol.com", "yahoo"),
        ("imap.mail.me.com", "icloud"),
        ("imap.163.com", "netease"),
        ("imap.126.com", "netease"),
        ("imap.rambler.ru", "rambler"),
        ("imap.exmail.qq.com", "tencent"),
        ("imap.strato.de", "strato"),
        ("imap.example.com", "generic"),
        ("notgmail.com", "generic"),
        ("gmail.com.example.org", "generic"),
        ("", "generic"),
    ],
)
def test_a_provider_is_known_by_its_host_before_anybody_connects(host: str, name: str) -> None:
    assert profile_of_host(host).name == name


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (Facts("mx.example.org", "The Microsoft Exchange IMAP4 service is ready. [aBcD]"), "outlook"),
        (Facts("mx.example.org", "Gimap ready for requests from 192.0.2.1 x12mb"), "gmail"),
        (Facts("mx.example.org", "Coremail System IMap Server Ready(163com[fd2c])"), "netease"),
        (Facts("mx.example.org", "Coremail System IMap Server Ready(example[fd2c])"), "generic"),
        (Facts("mx.example.org", server_id={"name": "Strato RZimapd"}), "strato"),
        (Facts("mx.example.org", server_id={"vendor": "Yahoo! Inc."}), "yahoo"),
        (Facts("mx.example.org", server_id={"name": "Dovecot"}), "generic"),
        (Facts("mx.example.org", capabilities=frozenset({"IMAP4REV1", "X-GM-EXT-1"})), "gmail"),
        (Facts("imap.163.com", "Dovecot ready."), "netease"),
    ],
)
def test_a_provider_behind_another_host_is_known_by_what_its_server_says(facts: Facts, name: str) -> None:
    assert recognise(facts).name == name


def test_what_a_server_says_of_itself_counts_more_than_its_host() -> None:
    assert recognise(Facts("imap.gmail.com", server_id={"name": "RZimapd"})).name == "strato"


@pytest.mark.parametrize(
    ("host", "idle_s"),
    [("imap.mail.yahoo.com", 180), ("imap.aol.com", 180), ("imap.rambler.ru", 55), ("imap.163.com", 55)],
)
def test_idle_is_renewed_before_these_providers_drop_it(host: str, idle_s: float) -> None:
    """(trap 2)"""
    assert profile_of_host(host).idle_s <= idle_s


def test_163_is_kept_awake_by_status_and_told_who_we_are() -> None:
    """(traps 3 and 4)"""
    profile = profile_of_host("imap.163.com")
    assert profile.keepalive is Keepalive.STATUS
    assert profile.always_id


def test_no_profile_takes_all_connections_that_a_provider_allows() -> None:
    """(trap 41) Gmail: 15 to an account, with those of its user; Dovecot, unless configured: 10."""
    assert profile_of_host("imap.gmail.com").connections <= 12
    assert GENERIC.connections < 10
    assert all(profile.connections >= 4 for profile in ALL), "one watches, one is for commands, one for downloads"


def test_ranges_are_not_asked_of_servers_that_ignore_them_or_render_the_whole_for_each() -> None:
    """(quirk 21)"""
    assert not profile_of_host("imap.exmail.qq.com").partial_fetch
    assert not profile_of_host("outlook.office365.com").partial_fetch


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text()))
def test_any_words_of_a_server_give_a_profile(host: str, greeting: str, server_id: dict[str, str]) -> None:
    assert recognise(Facts(host, greeting, frozenset(), server_id)) in ALL


def test_a_long_greeting_costs_no_time() -> None:
    assert recognise(Facts(greeting="Coremail " * 100_000)) is GENERIC
