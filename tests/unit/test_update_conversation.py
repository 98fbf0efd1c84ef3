"""PUT /v1/conversations/{id}."""

import json
import time
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests import tables
from tests.handlers import JSON, call, create, event, invoke, list_conversations, send, update
from tests.wire import Wire, cancelled_transaction, error_response

pytestmark = pytest.mark.usefixtures("tables", "no_backoff")

TAKES = "this call takes pinned_message_id, is_pinned, is_muted, archived_at, last_opened_at"
BOOLEAN = "must be true or false"
SECONDS = "must be a whole number of Unix seconds, from 0 to 253402300799 (the end of the year 9999), or null"
ID = "must be an id of 16 letters and digits, or null"
NOTHING = "pinned_message_id, is_pinned, is_muted, archived_at, last_opened_at: at least one of them must be given"

NAMES = ["pinned_message_id", "is_pinned", "is_muted", "archived_at", "last_opened_at"]


def all_changes(conversation: dict[str, Any]) -> dict[str, Any]:
    """Returns a new value for each attribute that can be changed."""
    return dict(zip(NAMES, (send(conversation)["id"], True, True, 253_402_300_799, 0), strict=True))


def test_sample_event_returns_404_on_empty_table() -> None:
    response = invoke("update_conversation", event("update_conversation"))
    assert (response.status, response.message) == (404, "id: no such conversation")
    assert list_conversations(user=event("update_conversation")["requestContext"]["authorizer"]["claims"]["sub"]) == []


@pytest.mark.parametrize("name", NAMES)
def test_only_the_given_attribute_changes(name: str) -> None:
    created = create(contact_id="harry", group_id="friends")
    changes = all_changes(created)
    created = call("retrieve_conversation", id=created["id"]).body
    changed = update(created, **{name: changes[name]})
    assert changed == created | {name: changes[name]}
    all_changed = update(created, **changes)
    assert all_changed == created | changes
    back = update(created, **{name: created[name]})
    assert back == all_changed | {name: created[name]}
    assert call("retrieve_conversation", id=created["id"]).body == back


def test_attributes_keep_their_order() -> None:
    created = create()
    assert list(update(created, **all_changes(created))) == list(created)


def test_form_is_accepted_and_empty_values_are_null() -> None:
    created = create()
    changes = all_changes(created)
    created = call("retrieve_conversation", id=created["id"]).body
    form = "&".join(f"{name}={json.dumps(value).strip(chr(34))}" for name, value in changes.items())
    assert call("update_conversation", id=created["id"], body=form).body == created | changes
    emptied = call("update_conversation", id=created["id"], body="archived_at=&last_opened_at=&pinned_message_id=")
    assert emptied.body == created | {"is_pinned": True, "is_muted": True}


def test_pinned_message_must_belong_to_the_conversation() -> None:
    conversation, other = create(), create()
    foreign = create(user="harry")
    deleted = send(conversation)
    call("delete_message", id=deleted["id"])
    rejected = "pinned_message_id: must be the id of a message of this conversation, or null"
    for id in (
        send(other)["id"],
        send(foreign, user="harry")["id"],
        deleted["id"],
        "xgQQXg3hrtjh7AvZ",
        conversation["id"],
    ):
        response = call("update_conversation", id=conversation["id"], body=f"pinned_message_id={id}&is_muted=true")
        assert (response.status, response.message) == (400, rejected)
    now = call("retrieve_conversation", id=conversation["id"]).body
    assert (now["pinned_message_id"], now["is_muted"]) == (None, False)


def test_pinning_respects_if_match() -> None:
    conversation = create()
    body = f"pinned_message_id={send(conversation)['id']}"
    update(conversation, is_muted=True)
    assert call("update_conversation", id=conversation["id"], body=body, headers={"If-Match": '"2"'}).status == 412
    response = call("update_conversation", id=conversation["id"], body=body, headers={"If-Match": '"4"'})
    assert (response.status, response.headers["ETag"]) == (200, '"5"')
    assert call("retrieve_conversation", id=conversation["id"]).body == response.body
    assert call("update_conversation", user="harry", id=conversation["id"], body=body).status == 404


def test_lost_response_pins_once(wire: Wire) -> None:
    conversation = create()
    message = send(conversation)
    wire.before("TransactWriteItems", wire.lose_next_response)
    body = f"pinned_message_id={message['id']}"
    response = call("update_conversation", id=conversation["id"], body=body, headers={"If-Match": '"2"'})
    assert (response.body["pinned_message_id"], response.headers["ETag"]) == (message["id"], '"3"')


@pytest.mark.parametrize("condition", [None, '"2"'])
def test_concurrent_update_during_pinning_is_kept(condition: str | None, wire: Wire) -> None:
    conversation = create()
    message = send(conversation)
    wire.before("TransactWriteItems", lambda: update(conversation, is_muted=True))
    headers = {"If-Match": condition} if condition else {}
    body = f"pinned_message_id={message['id']}&archived_at="
    response = call("update_conversation", id=conversation["id"], body=body, headers=headers)
    now = call("retrieve_conversation", id=conversation["id"]).body
    assert response.status == (412 if condition else 200)
    assert (now["is_muted"], now["pinned_message_id"]) == (True, None if condition else message["id"])


def test_missing_message_to_pin_is_reported_during_a_conflict(wire: Wire) -> None:
    conversation = create()
    wire.reset()
    wire.fault = lambda request: (
        cancelled_transaction(request, "TransactionConflict", "ConditionalCheckFailed")
        if wire.requests == ["GetItem", "TransactWriteItems"]
        else None
    )
    response = call("update_conversation", id=conversation["id"], body=f"pinned_message_id={'a' * 16}")
    assert response.status == 400


def test_persistent_concurrent_updates_during_pinning_return_503(wire: Wire) -> None:
    conversation = create()
    message = send(conversation)

    def change(_request: AWSPreparedRequest) -> None:
        if wire.requests[-1] == "TransactWriteItems":
            fault, wire.fault = wire.fault, None
            update(conversation, is_muted=True)
            wire.fault = fault

    wire.fault = change
    body = f"pinned_message_id={message['id']}"
    assert call("update_conversation", id=conversation["id"], body=body).status == 503


@pytest.mark.parametrize("code", ["TransactionConflictException", "TransactionInProgressException"])
def test_transaction_conflict_is_retried(code: str, wire: Wire) -> None:
    created = create()
    error_responses = [code, code]
    wire.fault = lambda request: error_response(request, 400, error_responses.pop()) if error_responses else None
    assert update(created, is_muted=True) == created | {"is_muted": True}


def test_persistent_transaction_conflict_returns_503(wire: Wire) -> None:
    created = create()
    wire.fault = lambda request: error_response(request, 400, "TransactionConflictException")
    assert call("update_conversation", id=created["id"], body="is_muted=true").status == 503


def test_archived_filter_follows_archiving_and_restoring() -> None:
    created = create()
    archived = update(created, archived_at=1_790_000_000)
    assert list_conversations(archived="true") == list_conversations() == [archived]
    assert list_conversations(archived="false") == []
    restored = update(created, archived_at=None)
    assert restored == created
    assert list_conversations(archived="false") == [created]
    assert list_conversations(archived="true") == []


def test_archived_at_0_counts_as_archived() -> None:
    archived = update(create(), archived_at=0)
    assert list_conversations(archived="true") == [archived]


def test_conversation_of_another_user_returns_404() -> None:
    created = create(user="kevin")
    foreign = call("update_conversation", user="harry", id=created["id"], body="is_muted=true")
    absent = call("update_conversation", user="harry", id="xgQQXg3hrtjh7AvZ", body="is_muted=true")
    assert foreign.status == 404
    assert foreign.body == absent.body
    assert list_conversations(user="kevin") == [created]
    assert list_conversations(user="harry") == []


def test_deleted_conversation_returns_404() -> None:
    created = create()
    call("delete_conversation", id=created["id"])
    assert call("update_conversation", id=created["id"], body="is_muted=true").status == 404
    assert list_conversations() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{}", NOTHING),
        ('{"is_pinned": null}', f"is_pinned: {BOOLEAN}"),
        ('{"is_pinned": "true"}', f"is_pinned: {BOOLEAN}"),
        ('{"is_pinned": 1}', f"is_pinned: {BOOLEAN}"),
        ('{"is_muted": 0.0, "is_pinned": []}', f"is_pinned: {BOOLEAN}; is_muted: {BOOLEAN}"),
        ('{"archived_at": 1790000000.0}', f"archived_at: {SECONDS}"),
        ('{"archived_at": 1.79e9}', f"archived_at: {SECONDS}"),
        ('{"archived_at": "1790000000"}', f"archived_at: {SECONDS}"),
        ('{"archived_at": ""}', f"archived_at: {SECONDS}"),
        ('{"archived_at": true}', f"archived_at: {SECONDS}"),
        ('{"archived_at": -1}', f"archived_at: {SECONDS}"),
        ('{"archived_at": 253402300800}', f"archived_at: {SECONDS}"),
        (f'{{"last_opened_at": {"9" * 400}}}', f"last_opened_at: {SECONDS}"),
        ('{"pinned_message_id": ""}', f"pinned_message_id: {ID}"),
        ('{"pinned_message_id": "xgQQXg3hrtjh7AvZ\\n"}', f"pinned_message_id: {ID}"),
        ('{"pinned_message_id": 1234567890123456}', f"pinned_message_id: {ID}"),
        ('{"is_muted": true, "id": "xgQQXg3hrtjh7AvZ"}', f"id: unknown or read-only; {TAKES}"),
        ('{"is_muted": true, "created_at": 1}', f"created_at: unknown or read-only; {TAKES}"),
        ('{"is_muted": true, "last_active_at": 1}', f"last_active_at: unknown or read-only; {TAKES}"),
        ('{"is_muted": true, "contact_id": "harry"}', f"contact_id: unknown or read-only; {TAKES}"),
        ('{"is_muted": true, "is_archived": true}', f"is_archived: unknown or read-only; {TAKES}"),
        ('{"is_muted": true, "user_id": "harry"}', f"user_id: unknown or read-only; {TAKES}"),
        (
            '{"is_muted": 2, "archived_at": -5, "colour": "red"}',
            f"is_muted: {BOOLEAN}; archived_at: {SECONDS}; colour: unknown or read-only; {TAKES}",
        ),
    ],
)
def test_invalid_json_is_rejected(body: str, message: str) -> None:
    created = create()
    response = call("update_conversation", id=created["id"], body=body, content_type=JSON)
    assert (response.status, response.message) == (400, message)
    assert list_conversations() == [created]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, NOTHING),
        ("is_pinned=", f"is_pinned: {BOOLEAN}"),
        ("is_pinned=True", f"is_pinned: {BOOLEAN}"),
        ("is_pinned=yes", f"is_pinned: {BOOLEAN}"),
        ("is_pinned=1", f"is_pinned: {BOOLEAN}"),
        ("is_pinned=null", f"is_pinned: {BOOLEAN}"),
        ("is_pinned=true&is_pinned=true", "is_pinned: must be given only once"),
        ("archived_at=null", f"archived_at: {SECONDS}"),
        ("archived_at=1_790", f"archived_at: {SECONDS}"),
        ("archived_at=+1790", f"archived_at: {SECONDS}"),
        ("archived_at=%2B1790", f"archived_at: {SECONDS}"),
        ("archived_at=%D9%A3", f"archived_at: {SECONDS}"),
        ("archived_at=1790.0", f"archived_at: {SECONDS}"),
        ("archived_at=-1", f"archived_at: {SECONDS}"),
        (f"archived_at={'9' * 5000}", f"archived_at: {SECONDS}"),
        ("archived_at=2026-11-22T18:00:00Z", f"archived_at: {SECONDS}"),
    ],
)
def test_invalid_form_is_rejected(body: str | None, message: str) -> None:
    created = create()
    response = call("update_conversation", id=created["id"], body=body)
    assert (response.status, response.message) == (400, message)
    assert list_conversations() == [created]


def test_updates_of_different_attributes_are_both_kept() -> None:
    created = create()
    update(created, is_muted=True)
    assert update(created, is_pinned=True) == created | {"is_muted": True, "is_pinned": True}


CHANGED = "If-Match: must name the current ETag; the conversation has changed, so retrieve it again"


@pytest.mark.parametrize("condition", ['"2"', '"1", "2"', "*", '"x","2"', ", ".join([f'"{n}"' for n in range(2, 102)])])
def test_matching_if_match_updates(condition: str) -> None:
    created = update(create(), is_pinned=True)
    response = call("update_conversation", id=created["id"], body="is_muted=true", headers={"If-Match": condition})
    assert (response.status, response.body) == (200, created | {"is_muted": True})
    assert response.headers["ETag"] == '"4"'


@pytest.mark.parametrize("condition", ['"1"', '"3"', '"x"', '""', '"0"', f'"{"9" * 400}"'])
def test_stale_if_match_returns_412(condition: str) -> None:
    created = update(create(), is_pinned=True)
    response = call("update_conversation", id=created["id"], body="is_muted=true", headers={"If-Match": condition})
    assert (response.status, response.message) == (412, CHANGED)
    assert list_conversations() == [created]


@pytest.mark.parametrize("condition", ['W/"2"', 'W/"2", W/"3"', '"1", W/"2"'])
def test_weak_if_match_never_matches(condition: str) -> None:
    created = update(create(), is_pinned=True)
    response = call("update_conversation", id=created["id"], body="is_muted=true", headers={"If-Match": condition})
    assert (response.status, response.message) == (
        412,
        "If-Match: must name a strong ETag, since a weak one never matches; leave out the W/ that a proxy added",
    )
    assert list_conversations() == [created]


@pytest.mark.parametrize(
    ("condition", "status"), [('"2"', 412), ('W/"2"', 412), ('"1",, "2"', 412), ("*", 412), ('"1"', 200), ('"x"', 200)]
)
@pytest.mark.parametrize("endpoint", ["update_conversation", "delete_conversation"])
def test_if_none_match_on_a_write_is_evaluated(endpoint: str, condition: str, status: int) -> None:
    created = update(create(), is_pinned=True)
    body = "is_muted=true" if endpoint == "update_conversation" else None
    response = call(endpoint, id=created["id"], body=body, headers={"If-None-Match": condition})
    if status == 412:
        assert (response.status, response.message) == (
            412,
            "If-None-Match: must not name the current ETag of the conversation",
        )
        assert list_conversations() == [created]
    else:
        assert response.status in (200, 204)
        assert list_conversations() != [created]


@pytest.mark.parametrize("condition", ["", "2", '"2', "*,*", ", ".join(['"2"'] * 101)])
def test_malformed_if_match_is_rejected(condition: str) -> None:
    created = update(create(), is_pinned=True)
    response = call("update_conversation", id=created["id"], body="is_muted=true", headers={"If-Match": condition})
    assert (response.status, response.message) == (400, 'If-Match: must be * or up to 100 ETags, such as "3", "4"')
    assert list_conversations() == [created]


@pytest.mark.parametrize("condition", ['"1"', "*"])
def test_if_match_on_missing_conversation_returns_404(condition: str) -> None:
    created = create(user="kevin")
    headers = {"If-Match": condition}
    for id in (created["id"], "xgQQXg3hrtjh7AvZ"):
        assert call("update_conversation", user="harry", id=id, body="is_muted=true", headers=headers).status == 404


def test_second_update_with_the_same_etag_returns_412() -> None:
    created = create()
    first = call("update_conversation", id=created["id"], body="is_muted=true", headers={"If-Match": '"1"'})
    second = call("update_conversation", id=created["id"], body="is_pinned=true", headers={"If-Match": '"1"'})
    assert (first.status, second.status) == (200, 412)
    assert list_conversations() == [created | {"is_muted": True}]


def test_update_without_a_change_succeeds() -> None:
    created = create()
    response = call("update_conversation", id=created["id"], body="is_muted=false", headers={"If-Match": '"1"'})
    assert (response.status, response.body) == (200, created)


@pytest.mark.parametrize("headers", [{}, {"If-Match": '"1"'}])
def test_lost_response_is_applied_once(headers: dict[str, str], wire: Wire) -> None:
    created = create()
    wire.lose_next_response()
    response = call("update_conversation", id=created["id"], body="is_muted=true", headers=headers)
    assert (response.status, response.body) == (200, created | {"is_muted": True})
    assert response.headers["ETag"] == '"3"'
    assert list_conversations() == [response.body]


def test_retry_does_not_undo_a_change_made_since(wire: Wire) -> None:
    created = create()
    wire.lose_next_response()
    unmuted: list[dict[str, Any]] = []

    def unmute_then_retry(request: AWSPreparedRequest) -> None:
        del request
        if wire.requests.count("UpdateItem") == 2:
            wire.fault = None
            unmuted.append(update(created, is_muted=False))

    wire.fault = unmute_then_retry
    response = call("update_conversation", id=created["id"], body="is_muted=true")
    # The first attempt was applied before the other change, so the retry must not be.
    assert (response.status, unmuted) == (503, [created])
    assert list_conversations() == [created]


def test_update_succeeds_although_another_clock_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    created = create()
    ahead = time.time_ns() + 5_000_000_000
    with monkeypatch.context() as clock:
        clock.setattr("time.time_ns", lambda: ahead)
        update(created, is_muted=True)
    assert update(created, is_pinned=True) == created | {"is_muted": True, "is_pinned": True}


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        pytest.param(["InternalServerError"], 503, id="ambiguous"),
        pytest.param(["InternalServerError", "TransactionConflictException"], 503, id="ambiguous, then a conflict"),
        pytest.param(["ThrottlingException"], 412, id="throttled"),
        pytest.param(["ThrottlingException", "TransactionConflictException"], 412, id="throttled, then a conflict"),
    ],
)
def test_ambiguous_update_followed_by_a_change_returns_503(codes: list[str], status: int, wire: Wire) -> None:
    created = create()
    failures = iter(codes)

    def fail_then_change(request: AWSPreparedRequest) -> AWSResponse | None:
        if code := next(failures, None):
            return error_response(request, 500 if code == "InternalServerError" else 400, code)
        wire.fault = None
        (row,) = tables.conversations()
        tables.put_rows({"conversations": [row | {"is_pinned": {"N": "1"}, "version": {"N": "2"}}]})
        return None

    wire.fault = fail_then_change
    headers = {"If-Match": '"1"'}
    response = call("update_conversation", id=created["id"], body="is_muted=true", headers=headers)
    assert response.status == status
    assert call("update_conversation", id=created["id"], body="is_muted=true", headers=headers).status == 412
