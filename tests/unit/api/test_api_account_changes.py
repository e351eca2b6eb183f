"""Contract, sections 1, 4 and 35: what a request makes of a record and its secrets."""

from typing import Any

import pytest

from postbus.api.account_changes import Changed, changed_account, new_account
from postbus.api.account_view import account_view
from postbus.api.schemas.accounts import AccountChange, AccountInput
from postbus.common.accounts import Account, AccountRecord, DisabledSubconnection
from postbus.common.errors import BadInput
from postbus.common.store.accounts import new_generation

IMAP = {
    "host": "imap.x",
    "port": 993,
    "secure": True,
    "auth": {"user": "u", "pass": "p"},
    "tls": {"minVersion": "TLSv1.2"},
}


def registered(**more: Any) -> Changed:
    return new_account("a", AccountInput.model_validate({"account": "a", "name": "N", "imap": IMAP, **more}))


def changed(record: AccountRecord, stored: set[str], **change: Any) -> Changed:
    return changed_account(record, stored, AccountChange.model_validate(change))


def test_secrets_are_kept_apart_from_the_record() -> None:
    new = registered()
    assert new.secrets == {"imap.pass": "p", "imap.accessToken": None}
    assert new.record.imap is not None and new.record.imap.user == "u"
    assert '"p"' not in new.record.model_dump_json()


def test_registration_time_is_the_default_of_notify_from_and_null_means_never() -> None:
    assert registered().record.notify_from is not None
    assert registered(notifyFrom=None).record.notify_from is None


def test_an_access_token_replaces_a_password() -> None:
    new = changed(registered().record, {"imap.pass"}, imap={"partial": True, "auth": {"user": "u", "accessToken": "t"}})
    assert new.secrets == {"imap.pass": None, "imap.accessToken": "t"}


def test_a_partial_change_of_the_user_keeps_the_password() -> None:
    new = changed(registered().record, {"imap.pass"}, imap={"partial": True, "auth": {"user": "v"}})
    assert new.secrets == {}
    assert new.record.imap is not None and (new.record.imap.user, new.record.imap.host) == ("v", "imap.x")


def test_a_partial_change_merges_the_tls_options_and_another_replaces_them() -> None:
    new = changed(registered().record, set(), imap={"partial": True, "tls": {"rejectUnauthorized": False}})
    assert new.record.imap is not None
    assert (new.record.imap.tls.reject_unauthorized, new.record.imap.tls.min_version) == (False, "TLSv1.2")
    replaced = changed(registered().record, {"imap.pass"}, imap={**IMAP, "tls": {"rejectUnauthorized": False}})
    assert replaced.record.imap is not None and replaced.record.imap.tls.min_version is None


def test_the_auth_server_takes_over_and_forgets_the_password() -> None:
    new = changed(registered().record, {"imap.pass"}, imap={"partial": True, "useAuthServer": True})
    assert new.record.imap is not None and new.record.imap.use_auth_server and new.record.imap.user is None
    assert new.secrets == {"imap.pass": None, "imap.accessToken": None}


def test_a_disabled_side_needs_no_server() -> None:
    new = registered(imap={"disabled": True})
    assert new.record.imap is not None and not new.record.syncs


def test_a_hint_can_be_set_and_taken_back() -> None:
    record = changed(registered().record, set(), imap={"partial": True, "sentMailPath": "Out"}).record
    assert record.imap is not None and record.imap.special_use_hints == {"\\Sent": "Out"}
    record = changed(record, set(), imap={"partial": True, "sentMailPath": None}).record
    assert record.imap is not None and record.imap.special_use_hints == {}


def test_a_partial_change_of_a_side_that_is_not_there_needs_everything() -> None:
    with pytest.raises(BadInput) as caught:
        changed(registered().record, set(), smtp={"partial": True, "port": 25})
    assert {one["key"] for one in caught.value.fields} == {"smtp.host", "smtp.auth"}


def test_a_masked_webhook_target_stays() -> None:
    record = registered(webhooks="https://u:p@h/").record
    assert changed(record, set(), webhooks="https://u:******@h/").record.webhooks == "https://u:p@h/"
    assert changed(record, set(), webhooks="").record.webhooks is None


def test_what_is_shown_can_be_written_back() -> None:
    new = registered(
        smtp={"host": "s", "port": 25, "auth": False},
        webhooksCustomHeaders=[{"key": "A", "value": "secret"}],
        path="INBOX",
    )
    account = Account("a", new.record, new_generation(), 0, sealed={"imap.pass": "sealed"})
    shown = account_view(account)
    asked = {
        name: shown[name] for name in ("name", "path", "copy", "notifyFrom", "imap", "smtp", "webhooksCustomHeaders")
    }
    again = changed(new.record, {"imap.pass"}, **asked)
    assert again.record == new.record
    assert again.secrets == {"smtp.pass": None, "smtp.accessToken": None}


def test_a_changed_path_is_dated_so_that_what_was_there_before_is_no_new_mail() -> None:
    record = registered().record
    assert record.path_since is None
    narrowed = changed(record, set(), path=["INBOX", "\\Sent"]).record
    assert narrowed.path == ("INBOX", "\\Sent")
    assert narrowed.path_since is not None
    again = changed(narrowed, set(), path=["INBOX", "\\Sent"]).record
    assert again.path_since == narrowed.path_since
    assert changed(narrowed, set(), path=None).record.path == ("*",)


def test_subconnections_are_kept_in_order_and_once_and_an_empty_list_removes_them() -> None:
    record = registered(subconnections=["\\Sent", "Work", "\\Sent"]).record
    assert record.subconnections == ("\\Sent", "Work")
    assert changed(record, set(), name="N").record.subconnections == ("\\Sent", "Work")
    assert registered(subconnections="Work").record.subconnections == ("Work",)
    assert changed(record, set(), subconnections=[]).record.subconnections == ()


def test_the_indexer_is_the_one_of_the_settings_unless_the_account_says_which() -> None:
    given = {"account": "a", "name": "N", "imap": IMAP}
    assert new_account("a", AccountInput.model_validate(given), indexer="fast").record.imap_indexer == "fast"
    chosen = AccountInput.model_validate({**given, "imapIndexer": " full "})
    assert new_account("a", chosen, indexer="fast").record.imap_indexer == "full"
    unsaid = AccountInput.model_validate({**given, "imapIndexer": None})
    assert new_account("a", unsaid, indexer="fast").record.imap_indexer == "fast"


def test_registering_a_known_account_again_changes_its_indexer_only_if_it_says_so() -> None:
    record = registered(imapIndexer="fast").record
    again = {"account": "a", "name": "N"}
    assert changed_account(record, set(), AccountInput.model_validate(again)).record.imap_indexer == "fast"
    other = AccountInput.model_validate({**again, "imapIndexer": "full"})
    assert changed_account(record, set(), other).record.imap_indexer == "full"


def test_a_subconnection_that_is_not_opened_is_shown_with_the_reason() -> None:
    record = registered(subconnections=["INBOX", "Work"]).record
    notes = tuple(DisabledSubconnection(path=path, reason="why") for path in ("INBOX", "Gone"))
    view = account_view(Account("a", record, new_generation(), 0, disabled_subconnections=notes))
    assert view["subconnections"] == ["INBOX", "Work"]
    assert view["disabledSubconnections"] == [{"path": "INBOX", "reason": "why"}]


def test_imap4rev2_can_be_disabled_though_it_is_never_enabled() -> None:
    record = registered(imap={**IMAP, "disableIMAP4rev2": True}).record
    assert record.imap is not None and record.imap.disable_imap4rev2
    view = account_view(Account("a", record, new_generation(), 0))
    assert view["imap"]["disableIMAP4rev2"] is True
    assert AccountRecord.model_validate_json(record.model_dump_json(by_alias=True)) == record
