"""Delivery between users: the orders that calls leave, and how the function of the stream applies them."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import boto3
import pytest
from coherent import errors
from coherent.messages.limits import SendLimits
from coherent.storage import dynamodb

from tests import tables
from tests.handlers import (
    JSON,
    Context,
    Response,
    call,
    create,
    deletions,
    entry,
    handler,
    list_conversations,
    list_messages,
    order_records,
    purge,
    put_entry,
    receive,
    send,
    update,
)
from tests.wire import Wire, error_response
from tests.wire import response as response_to

pytestmark = pytest.mark.usefixtures("delivery", "no_backoff")


def deliver(orders: list[dict[str, Any]] | None = None) -> None:
    handler("deliver_messages")(order_records(tables.orders() if orders is None else orders), Context(60))


def change(message: dict[str, Any], /, user: str = "kevin", **changes: object) -> Response:
    return call("update_message", user=user, id=message["id"], body=json.dumps(changes), content_type=JSON)


def delete(message: dict[str, Any], user: str = "kevin", **query: str) -> Response:
    given = {name: [value] for name, value in query.items()} or None
    return call("delete_message", user=user, id=message["id"], query=given)


def texts(user: str = "harry") -> list[str]:
    """Returns the texts of all messages of *user*, oldest first."""
    return [message["message"] for message in reversed(list_messages(user))]


def before_writes(wire: Wire, act: Callable[[], object]) -> None:
    """Calls *act* immediately before the next request that writes."""

    def fault(_request: Any) -> None:
        if wire.requests[-1] in {"UpdateItem", "TransactWriteItems"}:
            wire.fault = None
            act()

    wire.fault = fault


def origin_rows() -> list[dict[str, Any]]:
    return [row for row in tables.messages() if row["user_conversation"]["S"].endswith("#origins")]


@pytest.fixture
def conversation() -> dict[str, Any]:
    """Kevin's conversation with harry, who is a user because he has one too."""
    create("harry", contact_id="marv")
    return create("kevin", contact_id="harry")


def harrys_conversation() -> dict[str, Any]:
    (found,) = [each for each in list_conversations("harry") if each["contact_id"] == "kevin"]
    return found


def test_message_appears_in_the_recipients_inbox(conversation: dict[str, Any]) -> None:
    sent = send(conversation, "hello", attachments=["https://example.com/a.png"])
    deliver()
    (copy,) = list_messages("harry")
    assert copy == sent | {
        "id": copy["id"], "conversation_id": harrys_conversation()["id"], "contact": {"id": "kevin"}
    }  # fmt: skip
    found = entry(harrys_conversation(), "harry")
    assert (found["unread_count"], found["last_message"]["message"]) == (1, "hello")
    assert list_messages("kevin") == [sent]
    assert entry(conversation)["unread_count"] == 0


@pytest.mark.parametrize("group_id", [None, "friends"])
def test_copy_goes_to_the_newest_conversation_with_the_sender_in_the_group(group_id: str | None) -> None:
    group = {"group_id": group_id} if group_id else {}
    create("harry", contact_id="kevin", group_id="others")
    create("harry", contact_id="kevin", **group)
    newest = create("harry", contact_id="kevin", **group)
    send(create("kevin", contact_id="harry", **group))
    deliver()
    assert [message["conversation_id"] for message in list_messages("harry")] == [newest["id"]]


def test_first_message_creates_a_conversation_in_the_same_group() -> None:
    create("harry", contact_id="marv")
    send(create("kevin", contact_id="harry", group_id="friends"))
    deliver()
    assert harrys_conversation()["group_id"] == "friends"


def test_records_delivered_twice_and_late_store_one_copy(conversation: dict[str, Any]) -> None:
    send(conversation, "first")
    first = tables.orders()
    deliver(first * 2)
    send(conversation, "second")
    deliver(first)
    deliver(first)
    assert texts() == ["first", "second"]
    assert entry(harrys_conversation(), "harry")["unread_count"] == 2
    assert tables.orders() == []


def test_copies_keep_the_order_of_sending(conversation: dict[str, Any]) -> None:
    # More than a page of orders, and the last record first.
    sent = [send(conversation, str(number))["message"] for number in range(30)]
    deliver(tables.orders()[::-1])
    assert texts() == sent


def test_orders_put_during_a_query_keep_their_order(conversation: dict[str, Any], wire: Wire) -> None:
    for text in ("first", "second"):
        send(conversation, text)
    orders = sorted(tables.orders(), key=lambda order: str(order["id"]["S"]))

    def miss_the_first(request: Any) -> Any:
        """A Query is no snapshot: when it passed the place of the first order, that was not there yet."""
        if wire.requests[-1] == "Query":
            wire.fault = None
            return response_to(request, {"Items": orders[1:], "Count": 1, "ScannedCount": 1})
        return None

    wire.fault = miss_the_first
    deliver(orders)
    assert texts() == ["first", "second"]


def test_idempotent_replay_leaves_no_second_order(conversation: dict[str, Any]) -> None:
    body = json.dumps({"conversation_id": conversation["id"], "message": "hello"})
    given: dict[str, Any] = {"body": body, "content_type": JSON, "headers": {"Idempotency-Key": "once"}}
    first = call("create_message", **given)
    deliver()
    assert call("create_message", **given).body == first.body
    deliver()
    assert texts() == ["hello"]


def test_idempotent_replay_survives_the_deletion_of_the_conversation(conversation: dict[str, Any]) -> None:
    body = json.dumps({"conversation_id": conversation["id"], "message": "hello"})
    given: dict[str, Any] = {"body": body, "content_type": JSON, "headers": {"Idempotency-Key": "once"}}
    first = call("create_message", **given)
    call("delete_conversation", id=conversation["id"])
    again = call("create_message", **given)
    assert (again.status, again.body) == (201, first.body)
    assert len(tables.orders()) == 1
    other = given | {"body": body.replace("hello", "other")}
    assert call("create_message", **other).status == 422


def test_edits_follow_to_the_copy_and_its_preview(conversation: dict[str, Any]) -> None:
    sent = send(conversation, "helo")
    deliver()
    edited = change(sent, message="hello", attachments=["https://example.com/a.png"]).body
    deliver()
    (copy,) = list_messages("harry")
    assert {name: copy[name] for name in ("message", "attachments", "updated_at")} == {
        name: edited[name] for name in ("message", "attachments", "updated_at")
    }
    found = entry(harrys_conversation(), "harry")
    assert (found["last_message"]["message"], found["unread_count"]) == ("hello", 1)


def test_edits_before_the_delivery_arrive_in_order(conversation: dict[str, Any]) -> None:
    sent = send(conversation, "one")
    change(sent, message="two")
    change(sent, message="three")
    deliver(tables.orders()[::-1])
    assert texts() == ["three"]


def test_own_reactions_follow_in_both_directions(conversation: dict[str, Any]) -> None:
    sent = send(conversation)
    deliver()
    (copy,) = list_messages("harry")
    change(copy, user="harry", reactions=[{"reaction": "heart", "contact_id": None}])
    change(sent, reactions=[{"reaction": "wave", "contact_id": None}, {"reaction": "made-up", "contact_id": "marv"}])
    deliver()
    assert sorted(each["reaction"] for each in list_messages("kevin")[0]["reactions"]) == ["heart", "made-up", "wave"]
    assert list_messages("harry")[0]["reactions"] == [
        {"reaction": "heart", "contact_id": None},
        {"reaction": "wave", "contact_id": "kevin"},
    ]
    change(copy, user="harry", reactions=[])
    deliver()
    assert [each["reaction"] for each in list_messages("kevin")[0]["reactions"]] == ["wave", "made-up"]
    # Harry's PUT has also removed kevin's reaction, but only from harry's copy.
    assert list_messages("harry")[0]["reactions"] == []


def test_reactions_of_two_clients_end_alike_in_both_copies(conversation: dict[str, Any], wire: Wire) -> None:
    first, second = ([{"reaction": reaction, "contact_id": None}] for reaction in ("heart", "wave"))
    sent = send(conversation)
    change(sent, reactions=first)
    before_writes(wire, lambda: change(sent, reactions=second))
    change(sent, reactions=first)
    deliver()
    assert [each["reaction"] for each in list_messages("harry")[0]["reactions"]] == [
        each["reaction"] for each in list_messages("kevin")[0]["reactions"]
    ]


def test_reading_leaves_no_order(conversation: dict[str, Any]) -> None:
    sent = send(conversation)
    deliver()
    change(sent, read_at=1)
    change(list_messages("harry")[0], user="harry", read_at=1)
    assert tables.orders() == []


def test_deletion_leaves_the_copy(conversation: dict[str, Any]) -> None:
    sent = send(conversation)
    deliver()
    assert delete(sent).status == 204
    deliver()
    assert texts("kevin") == []
    assert texts("harry") == ["hello"]


def test_deletion_before_the_delivery_leaves_the_copy(conversation: dict[str, Any]) -> None:
    delete(send(conversation, "first"))
    send(conversation, "second")
    call("delete_conversation", id=conversation["id"])
    deliver()
    assert texts() == ["first", "second"]


def test_deletion_for_everyone_deletes_both(conversation: dict[str, Any]) -> None:
    kept, sent = send(conversation, "kept"), send(conversation, "sent")
    deliver()
    assert delete(sent, **{"for": "everyone"}).status == 204
    deliver()
    assert texts("kevin") == texts("harry") == ["kept"]
    found = entry(harrys_conversation(), "harry")
    assert (found["unread_count"], found["last_message"]["message"]) == (1, kept["message"])
    assert len(origin_rows()) == 1


def test_deletion_for_everyone_before_the_delivery_leaves_nothing(conversation: dict[str, Any]) -> None:
    sent = send(conversation)
    change(sent, message="edited")
    delete(sent, **{"for": "everyone"})
    deliver()
    assert texts("kevin") == texts("harry") == []
    assert origin_rows() == []


def test_only_the_sender_deletes_for_everyone(conversation: dict[str, Any]) -> None:
    send(conversation)
    deliver()
    (copy,) = list_messages("harry")
    response = delete(copy, user="harry", **{"for": "everyone"})
    assert (response.status, response.message) == (404, "id: no such message")
    assert texts("harry") == texts("kevin") == ["hello"]


@pytest.mark.parametrize("value", ["me", "", "Everyone"])
def test_other_values_of_for_are_rejected(conversation: dict[str, Any], value: str) -> None:
    response = delete(send(conversation), **{"for": value})
    assert (response.status, response.message) == (400, "for: must be everyone, or absent")
    assert delete(send(conversation), mode="all").message == "mode: unknown or read-only; this call takes for"


def test_recipients_deletions_touch_only_their_copy(conversation: dict[str, Any]) -> None:
    first, second = send(conversation, "first"), send(conversation, "second")
    deliver()
    delete(list_messages("harry")[1], user="harry")
    change(first, message="edited")
    deliver()
    assert texts("harry") == ["second"]
    call("delete_conversation", user="harry", id=harrys_conversation()["id"])
    change(second, message="edited", reactions=[{"reaction": "heart", "contact_id": None}])
    deliver()
    assert texts("harry") == []
    assert texts("kevin") == ["edited", "edited"]
    assert tables.orders() == []


def test_message_after_the_recipients_deletion_begins_a_conversation(conversation: dict[str, Any]) -> None:
    send(conversation, "first")
    deliver()
    deleted = harrys_conversation()
    call("delete_conversation", user="harry", id=deleted["id"])
    send(conversation, "second")
    deliver()
    assert texts("harry") == ["second"]
    assert harrys_conversation()["id"] != deleted["id"]


def test_purge_deletes_origin_rows(conversation: dict[str, Any]) -> None:
    send(conversation)
    deliver()
    assert len(origin_rows()) == 1
    id = harrys_conversation()["id"]
    call("delete_conversation", user="harry", id=id)
    assert deletions(("harry", id))
    purge(("harry", id))
    assert origin_rows() == []
    assert [row["user_id"]["S"] for row in tables.messages()] == ["kevin"]


def test_blocked_contact_is_not_delivered(conversation: dict[str, Any]) -> None:
    before = send(conversation, "before")
    deliver()
    put_entry(harrys_conversation(), user="harry", is_blocked=True)
    during = send(conversation, "during")
    change(before, message="edited")
    deliver()
    assert texts("harry") == ["before"]
    put_entry(harrys_conversation(), user="harry", is_blocked=False)
    change(during, message="still not delivered")
    send(conversation, "after")
    deliver()
    assert texts("harry") == ["before", "after"]
    assert tables.orders() == []


def test_change_after_a_block_does_not_bring_what_was_changed_during_it(conversation: dict[str, Any]) -> None:
    sent = send(conversation, "original")
    deliver()
    put_entry(harrys_conversation(), user="harry", is_blocked=True)
    change(sent, message="edited")
    deliver()
    put_entry(harrys_conversation(), user="harry", is_blocked=False)
    change(sent, reactions=[{"reaction": "wave", "contact_id": None}])
    deliver()
    (copy,) = list_messages("harry")
    assert (copy["message"], copy["updated_at"]) == ("original", None)
    assert copy["reactions"] == [{"reaction": "wave", "contact_id": "kevin"}]
    put_entry(harrys_conversation(), user="harry", is_blocked=True)
    change(sent, reactions=[])
    deliver()
    put_entry(harrys_conversation(), user="harry", is_blocked=False)
    change(sent, message="edited again")
    deliver()
    (copy,) = list_messages("harry")
    assert copy["message"] == "edited again"
    assert copy["reactions"] == [{"reaction": "wave", "contact_id": "kevin"}]


def test_blocked_contact_can_delete_for_everyone(conversation: dict[str, Any]) -> None:
    sent = send(conversation)
    deliver()
    put_entry(harrys_conversation(), user="harry", is_blocked=True)
    delete(sent, **{"for": "everyone"})
    deliver()
    assert texts("harry") == []


def test_user_can_write_to_a_contact_whom_they_block(conversation: dict[str, Any]) -> None:
    put_entry(conversation, is_blocked=True)
    send(conversation)
    deliver()
    assert texts("harry") == ["hello"]


@pytest.mark.parametrize("names", [{"contact_id": "nobody"}, {"contact_id": "a#b"}, {"group_id": "friends"}])
def test_message_without_a_user_as_contact_is_not_delivered(names: dict[str, str]) -> None:
    rows = len(tables.messages())
    send(create("kevin", **names))
    deliver()
    assert len(tables.messages()) == rows + 1
    assert {user for user in tables.lasting_partitions() if "nobody" in user or "a#b" in user} == set()


def test_message_to_oneself_is_not_delivered() -> None:
    send(create("kevin", contact_id="kevin"))
    assert tables.orders() == []


def test_external_delivery_leaves_no_orders(monkeypatch: pytest.MonkeyPatch, conversation: dict[str, Any]) -> None:
    for function in ("create_message", "update_message", "delete_message"):
        monkeypatch.setattr(f"functions.{function}.app.messages._delivers", False)
    change(send(conversation), message="edited")
    assert tables.orders() == []


def test_deletion_for_everyone_deletes_a_copy_from_before_a_switch_to_external(
    monkeypatch: pytest.MonkeyPatch, conversation: dict[str, Any]
) -> None:
    sent = send(conversation)
    deliver()
    monkeypatch.setattr("functions.delete_message.app.messages._delivers", False)
    assert delete(sent, **{"for": "everyone"}).status == 204
    deliver()
    assert texts() == []


def test_received_message_is_not_delivered_on(monkeypatch: pytest.MonkeyPatch, conversation: dict[str, Any]) -> None:
    monkeypatch.setattr("functions.receive_message.app.messages._delivers", True)
    monkeypatch.setattr("functions.deliver_messages.app.mailbox._messages._delivers", True)
    receive(conversation)
    assert tables.orders() == []
    send(conversation)
    deliver()
    assert tables.orders() == []


@pytest.fixture
def pool(_dynamodb: object, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user pool without users."""
    pool_id: str = boto3.client("cognito-idp").create_user_pool(PoolName="users")["UserPool"]["Id"]
    monkeypatch.setenv("USER_POOL_ID", pool_id)
    return pool_id


def sign_up(pool_id: str, name: str) -> str:
    """Adds a user to the pool and returns their `sub`."""
    user = boto3.client("cognito-idp").admin_create_user(UserPoolId=pool_id, Username=name)["User"]
    return str(next(each["Value"] for each in user["Attributes"] if each["Name"] == "sub"))


def test_user_who_has_only_signed_up_gets_messages(pool: str) -> None:
    sub = sign_up(pool, "buzz")
    conversation = create("kevin", contact_id=sub)
    send(conversation, "first")
    deliver()
    # The sign-up is remembered.
    boto3.client("cognito-idp").delete_user_pool(UserPoolId=pool)
    send(conversation, "second")
    deliver()
    assert texts(sub) == ["first", "second"]


def test_backend_that_has_only_a_client_gets_messages(pool: str) -> None:
    cognito = boto3.client("cognito-idp")
    # More than a page.
    for number in range(61):
        created = cognito.create_user_pool_client(UserPoolId=pool, ClientName=f"client {number}")
    client_id = created["UserPoolClient"]["ClientId"]
    send(create("kevin", contact_id=client_id))
    send(create("kevin", contact_id=client_id.swapcase()))
    deliver()
    assert (texts(client_id), texts(client_id.swapcase())) == (["hello"], [])


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("contact_id", ["backend", "00000000-0000-4000-8000-000000000000"])
def test_contact_who_becomes_a_user_gets_messages(contact_id: str) -> None:
    conversation = create("kevin", contact_id=contact_id)
    send(conversation, "before")
    deliver()
    create(contact_id, contact_id="marv")
    send(conversation, "after")
    deliver()
    assert texts(contact_id) == ["after"]


def test_unknown_contact_is_looked_up_once_a_minute(pool: str, pass_time: Callable[[int], None]) -> None:
    stranger = "00000000-0000-4000-8000-000000000000"
    conversation = create("kevin", contact_id=stranger)
    send(conversation)
    deliver()
    boto3.client("cognito-idp").delete_user_pool(UserPoolId=pool)
    send(conversation)
    deliver()
    assert tables.orders() == []
    pass_time(61)
    send(conversation)
    with pytest.raises(RuntimeError):
        deliver()
    assert len(tables.orders()) == 1


@pytest.mark.parametrize(("muted", "is_restored"), [(False, True), (True, False)])
def test_copy_restores_an_archived_conversation_unless_muted(
    conversation: dict[str, Any], muted: bool, is_restored: bool
) -> None:
    theirs = create("harry", contact_id="kevin")
    update(theirs, user="harry", archived_at=1, is_muted=muted)
    send(conversation)
    deliver()
    assert (harrys_conversation()["archived_at"] is None) == is_restored


@pytest.mark.parametrize("operation", ["Query", "GetItem", "TransactWriteItems"])
def test_failed_delivery_is_repeated(conversation: dict[str, Any], wire: Wire, operation: str) -> None:
    send(conversation)
    orders = tables.orders()
    wire.fault = lambda request: (
        error_response(request, 400, "ThrottlingException") if wire.requests[-1] == operation else None
    )
    with pytest.raises(RuntimeError, match="The deliveries of 1 pairs of users failed"):
        deliver(orders)
    wire.reset()
    assert tables.orders() == orders
    deliver(orders)
    assert texts() == ["hello"]


def test_failed_delivery_does_not_delay_other_pairs(conversation: dict[str, Any], wire: Wire) -> None:
    send(conversation)
    create("marv", contact_id="harry")
    send(create("kevin", contact_id="marv"), "to marv")
    orders = sorted(tables.orders(), key=lambda order: order["recipient"]["S"] == "marv")

    def fault(request: Any) -> Any:
        body = request.body.decode()
        return error_response(request, 400, "ThrottlingException") if '"harry#' in body else None

    wire.fault = fault
    with pytest.raises(RuntimeError):
        deliver(orders)
    wire.reset()
    assert texts("marv") == ["to marv"]


@pytest.fixture(params=["created", "changed", "deleted"])
def expected_texts(conversation: dict[str, Any], request: pytest.FixtureRequest) -> list[str]:
    """Leaves an order of each kind. Returns the texts of harry's messages after its delivery."""
    sent = send(conversation)
    if request.param == "created":
        return ["hello"]
    deliver()
    if request.param == "changed":
        change(sent, message="edited")
        return ["edited"]
    delete(sent, **{"for": "everyone"})
    return []


def test_lost_response_applies_an_order_once(expected_texts: list[str], wire: Wire) -> None:
    wire.before("TransactWriteItems", wire.lose_next_response)
    deliver()
    assert texts() == expected_texts


def test_two_workers_apply_an_order_once(expected_texts: list[str], wire: Wire) -> None:
    orders = tables.orders()
    wire.before("TransactWriteItems", lambda: deliver(orders))
    deliver(orders)
    assert texts() == expected_texts
    assert tables.orders() == []


def test_limit_per_contact_is_429_until_the_next_minute(
    conversation: dict[str, Any], monkeypatch: pytest.MonkeyPatch, pass_time: Callable[[int], None]
) -> None:
    limit(monkeypatch, _per_contact=2)
    sent = send(conversation)
    assert change(sent, message="edited").status == 200
    response = change(sent, reactions=[{"reaction": "heart", "contact_id": None}])
    seconds = int(response.headers["Retry-After"])
    assert response.status == 429
    assert response.message == (
        "At most 2 messages, edits and reactions to one contact are accepted in a clock minute; "
        f"try again in {seconds} s"
    )
    # Reading is no change for the contact, and another contact has a limit of their own.
    assert change(sent, read_at=1).status == 200
    send(create("kevin", contact_id="marv"))
    pass_time(seconds)
    send(conversation)


def test_limit_of_the_sender_counts_all_contacts(
    conversation: dict[str, Any], monkeypatch: pytest.MonkeyPatch, pass_time: Callable[[int], None]
) -> None:
    pass_time(0)
    limit(monkeypatch, _of_user=2)
    send(conversation)
    send(create("kevin", contact_id="nobody"))
    body = json.dumps({"conversation_id": conversation["id"], "message": "too much"})
    response = call("create_message", body=body, content_type=JSON)
    assert response.status == 429
    assert "At most 2 messages, edits and reactions are accepted in a clock minute" in response.message
    assert len(tables.orders()) == 2
    # Users do not share a limit, and a conversation with a group alone has none.
    send(create("harry", contact_id="kevin"), user="harry")
    send(create("kevin", group_id="friends"))


@pytest.mark.parametrize(
    ("of_user", "per_contact", "message"),
    [
        ("2", "0", "At most 2 messages, edits and reactions are accepted"),
        ("0", "2", "At most 2 messages"),
        ("0", "0", ""),
    ],
)
def test_limits_are_those_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, of_user: str, per_contact: str, message: str
) -> None:
    monkeypatch.setenv("SEND_LIMIT", of_user)
    monkeypatch.setenv("SEND_LIMIT_PER_CONTACT", per_contact)
    limits = SendLimits(dynamodb.connect())
    for _ in range(2):
        limits.count("kevin", "harry")
    with pytest.raises(errors.TooManyRequests, match=message) if message else nullcontext():
        limits.count("kevin", "harry")


def limit(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    for function in ("create_message", "update_message"):
        for name, value in limits.items():
            monkeypatch.setattr(f"functions.{function}.app.messages._limits.{name}", value)
