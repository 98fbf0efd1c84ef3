"""The streams of both tables: events on the bus, and the feed."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from coherent import errors
from coherent.changes.change import TYPES, Change

from functions.publish_changes import app
from tests import streams, tables
from tests import wire as wires
from tests.handlers import JSON, Context, call, create, event, handler, order_records, put_entry, receive, send, update
from tests.streams import publish
from tests.wire import Wire, error_response

pytestmark = pytest.mark.usefixtures("stream_records", "no_backoff")

Record = dict[str, Any]


class Bus:
    """EventBridge, as the network sees it."""

    def __init__(self) -> None:
        """Accepts all entries."""
        self.requests: list[list[dict[str, str]]] = []
        self.accepted: list[dict[str, str]] = []
        # Numbers of entries that fail, for each of the next requests; None for an error response.
        self.failures: list[set[int] | None] = []

    @property
    def events(self) -> list[Any]:
        """The details of all accepted entries."""
        return [json.loads(entry["Detail"]) for entry in self.accepted]

    def __call__(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answers PutEvents."""
        assert isinstance(request.body, bytes)
        entries = json.loads(request.body)["Entries"]
        self.requests.append(entries)
        names = ("Source", "DetailType", "Detail")
        sizes = [14 + sum(len(entry[name].encode()) for name in names) for entry in entries]
        assert len(entries) <= 10
        assert sum(sizes) <= 256 * 1024
        failures = self.failures.pop(0) if self.failures else set()
        if failures is None:
            return error_response(request, 500, "InternalFailure")
        errors = [{"ErrorCode": "ThrottlingException"} if place in failures else {} for place in range(len(entries))]
        self.accepted += [entry for place, entry in enumerate(entries) if place not in failures]
        return wires.response(request, {"FailedEntryCount": len(failures), "Entries": errors})


@pytest.fixture
def bus(stream_records: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    """The event bus of the stack."""
    del stream_records
    monkeypatch.setattr(app.publisher._bus, "_bus_name", "conversations")
    fake, events = Bus(), app.publisher._bus._events.meta.events
    events.register_first("before-send.eventbridge", fake)
    yield fake
    events.unregister("before-send.eventbridge", fake)


@pytest.fixture
def letters(queue: str) -> Callable[[], list[Record]]:
    """Reads the dead-letter queue."""

    def read() -> list[Record]:
        found = boto3.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(letter["Body"]) for letter in found]

    return read


def feed(user: str = "kevin") -> list[tuple[int, str, int]]:
    """Returns number, type and version of the changes in a user's feed."""
    found = call("list_changes", user=user, query={"starting_after": ["0"], "limit": ["100"]})
    assert found.status == 200, found
    return [(change["number"], change["type"], change["version"]) for change in found.body["data"]]


def latest(name: str = "conversations") -> Record:
    """Returns the last record of a stream."""
    record: Record = streams.records(name)[-1]
    return record


def test_sample_event_is_published(bus: Bus) -> None:
    handler("publish_changes")(event("publish_changes"), Context())
    sample = event("list_changes")
    listed = handler("list_changes")(sample, Context(25))
    changes = json.loads(listed["body"])["data"]
    assert [(change["type"], change["version"]) for change in changes] == [
        ("conversation.updated", 2),
        ("message.created", 1),
    ]
    assert [each["payload"]["object"] for each in bus.events] == [change["object"] for change in changes]


def test_event_has_the_shape_of_the_contract(bus: Bus) -> None:
    conversation = create()
    publish(latest())
    ((entry,),) = bus.requests
    detail = json.loads(entry.pop("Detail"))
    assert entry == {
        "EventBusName": "conversations",
        "Source": "conversations",
        "DetailType": "conversation.created",
    }
    assert list(detail) == ["id", "type", "user_id", "resource_id", "version", "payload"]
    assert len(detail.pop("id")) == 32
    assert detail == {
        "type": "conversation.created",
        "user_id": "kevin",
        "resource_id": conversation["id"],
        "version": 1,
        "payload": {"object": conversation},
    }


def test_every_type_is_published_with_the_resource_as_get_shows_it(bus: Bus) -> None:
    conversation = create()
    message = send(conversation, "Merry Christmas \N{CHRISTMAS TREE}", attachments=["https://files.example.com/1"])
    body = json.dumps({"reactions": [{"reaction": "heart", "contact_id": "harry"}], "read_at": 1})
    reacted = call("update_message", id=message["id"], body=body, content_type=JSON).body
    shown = call("retrieve_conversation", id=conversation["id"]).body
    call("delete_message", id=message["id"])
    call("delete_conversation", id=conversation["id"])
    publish()
    by_type = {each["type"]: each for each in bus.events}
    assert by_type.keys() == set(TYPES)
    objects = {type: each["payload"]["object"] for type, each in by_type.items()}
    assert objects["message.created"] == message
    # Deletions show the resource as it was last.
    assert objects["message.updated"] == objects["message.deleted"] == reacted
    assert objects["conversation.updated"] == objects["conversation.deleted"] == shown
    versions = [each["version"] for each in bus.events if each["type"].startswith("message")]
    assert versions == [1, 2, 3]


def test_message_from_a_contact_changes_message_and_conversation(bus: Bus) -> None:
    conversation = create()
    id = receive(conversation)
    publish()
    assert [(each["type"], each["resource_id"]) for each in bus.events] == [
        ("conversation.created", conversation["id"]),
        ("conversation.updated", conversation["id"]),
        ("message.created", id),
    ]
    assert bus.events[2]["payload"]["object"]["contact"] == {"id": "harry"}


@pytest.mark.usefixtures("delivery")
def test_rows_of_other_kinds_are_not_published(bus: Bus) -> None:
    create("harry", contact_id="kevin")
    conversation = create("kevin", contact_id="harry")
    call("create_conversation", body="contact_id=harry", headers={"Idempotency-Key": "1"})
    put_entry(conversation, muted_until=2**32)
    put_entry(conversation, is_blocked=True)
    message = send(conversation)
    handler("deliver_messages")(order_records(tables.orders()), Context())
    call("delete_message", id=message["id"], query={"for": ["everyone"]})
    call("delete_conversation", id=conversation["id"])
    everything: list[Record] = []
    for table in ("conversations", "messages"):
        stream: Any = tables.backend().tables[table].stream_shard
        everything += stream.records
    resources = streams.records("conversations") + streams.records("messages")
    assert len(everything) > len(resources)
    publish(*everything)
    assert len(bus.events) == len(resources)
    assert {each["user_id"] for each in bus.events} == {"kevin", "harry"}


def test_write_that_keeps_the_version_is_not_published(bus: Bus) -> None:
    create()
    record = latest() | {"eventName": "MODIFY"}
    image = record["dynamodb"]["NewImage"]
    record["dynamodb"] = record["dynamodb"] | {"OldImage": image, "NewImage": image | {"unread_count": {"N": "1"}}}
    publish(record)
    assert bus.requests == []
    assert feed() == []


def test_purge_of_a_conversation_deletes_its_messages_in_the_feed() -> None:
    conversation = create()
    for _ in range(2):
        send(conversation)
    call("delete_conversation", id=conversation["id"])
    tables.age_tombstones()
    handler("sweep_purges")({}, Context())
    publish()
    assert [type for _, type, _ in feed()].count("message.deleted") == 2


@pytest.mark.parametrize(("wrong", "reason"), [
    ({"eventName": "MOVE"}, "KeyError('MOVE')"),
    ({"dynamodb": {"Keys": {}}}, "KeyError('NewImage')"),
    ({"dynamodb": None}, "TypeError"),
    ({"dynamodb": {"NewImage": {"is_archived": {"N": "0"}}}}, "KeyError('ApproximateCreationDateTime')"),
    (
        {"dynamodb": {"NewImage": {"is_archived": {"N": "0"}}, "ApproximateCreationDateTime": 1}},
        "KeyError('user_id')",
    ),
])  # fmt: skip
def test_malformed_record_becomes_a_dead_letter_and_others_go_on(
    wrong: Record, reason: str, letters: Callable[[], list[Record]]
) -> None:
    create()
    publish(latest() | {"eventID": "7"} | wrong, latest())
    (letter,) = letters()
    assert letter["reason"].startswith(f"The record of the stream is malformed: {reason}")
    assert (letter["event"]["id"], letter["event"]["detail"]) == ("7", latest() | {"eventID": "7"} | wrong)
    assert feed() == [(1, "conversation.created", 1)]


def test_event_id_is_the_same_for_every_repetition_and_differs_for_each_change(bus: Bus) -> None:
    conversation = create()
    update(conversation, is_pinned=True)
    create("harry")
    publish()
    publish()
    first, second = bus.events[:3], bus.events[3:]
    assert first == second
    assert len({each["id"] for each in first}) == 3


def test_events_are_put_in_batches_that_eventbridge_accepts(bus: Bus) -> None:
    for _ in range(23):
        create()
    publish()
    assert [len(entries) for entries in bus.requests] == [10, 10, 3]
    bus.requests.clear()
    conversation = create()
    for _ in range(7):
        send(conversation, "\N{CHRISTMAS TREE}" * 10_000, attachments=["x" * 2048] * 32)
    publish(*streams.records("messages"))
    # 106 KB each.
    assert [len(entries) for entries in bus.requests] == [2, 2, 2, 1]
    assert "\N{CHRISTMAS TREE}" in bus.requests[0][0]["Detail"]


def test_event_that_is_too_large_has_no_object(bus: Bus) -> None:
    create()
    record = latest()
    record["dynamodb"]["NewImage"]["contact_id"] = {"S": "\N{CHRISTMAS TREE}" * 70_000}
    publish(record)
    ((entry,),) = bus.requests
    detail = json.loads(entry["Detail"])
    assert (detail["payload"], detail["truncated"]) == ({"object": None}, True)
    # The feed keeps it whole.
    (change,) = call("list_changes", query={"starting_after": ["0"]}).body["data"]
    assert len(change["object"]["contact_id"]) == 70_000


def test_only_the_entries_that_failed_are_put_again(bus: Bus) -> None:
    for _ in range(12):
        create()
    bus.failures = [{0, 7}, {1}]
    publish()
    assert [len(entries) for entries in bus.requests] == [10, 2, 1, 2]
    assert len({each["id"] for each in bus.events}) == len(bus.events) == 12


@pytest.mark.parametrize("failures", [[{0}] * 6, [None] * 3])
def test_bus_that_fails_stops_no_feed_and_fails_the_batch(
    failures: list[set[int] | None], bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    create("kevin")
    create("harry")
    bus.failures = failures
    with pytest.raises(RuntimeError, match="1 of 3 publications failed"):
        publish()
    assert feed("kevin") == feed("harry") == [(1, "conversation.created", 1)]
    assert "Changes were not published" in caplog.text


def test_feed_that_fails_stops_no_other_and_fails_the_batch(bus: Bus, wire: Wire) -> None:
    create("kevin")
    create("harry")

    def fault(request: AWSPreparedRequest) -> AWSResponse | None:
        is_kevins = b'"kevin"' in (request.body or b"")
        return error_response(request, 400, "ProvisionedThroughputExceededException") if is_kevins else None

    wire.fault = fault
    with pytest.raises(RuntimeError, match="1 of 3 publications failed"):
        publish()
    wire.fault = None
    assert (feed("kevin"), feed("harry")) == ([], [(1, "conversation.created", 1)])
    assert len(bus.events) == 2


def test_batch_of_a_user_makes_a_query_a_put_for_each_change_and_an_update(wire: Wire) -> None:
    for _ in range(3):
        create()
    records = streams.records("conversations")
    wire.reset()
    publish(*records)
    # The first Query looks for webhooks.
    assert wire.requests == ["Query", "Query", "PutItem", "PutItem", "PutItem", "UpdateItem"]


def test_repeated_old_batch_is_appended_once(pass_time: Callable[[int], None], bus: Bus) -> None:
    conversation = create()
    update(conversation, is_pinned=True)
    publish()
    pass_time(60)
    update(conversation, is_pinned=False)
    publish()
    publish()
    assert feed() == [(1, "conversation.created", 1), (2, "conversation.updated", 2), (3, "conversation.updated", 3)]
    # The bus may get an event twice; its id is the same.
    assert len(bus.events) == 8


def test_repeated_young_batch_may_be_appended_again_with_the_same_versions() -> None:
    create()
    publish()
    publish()
    assert feed() == [(1, "conversation.created", 1), (2, "conversation.created", 1)]


def test_head_is_raised_when_the_batch_of_a_killed_publisher_is_repeated(
    wire: Wire, pass_time: Callable[[int], None]
) -> None:
    create()
    wire.before("UpdateItem", _kill)
    with pytest.raises(KeyboardInterrupt):
        publish()
    wire.reset()
    pass_time(7 * 24 * 60 * 60 - 3600)
    assert call("list_changes").body["head"] == 1
    publish()
    tables.delete_change("kevin", 1)
    assert call("list_changes").body["head"] == 1


def _kill() -> None:
    raise KeyboardInterrupt


def test_lost_response_appends_nothing_twice(wire: Wire) -> None:
    create()
    records = streams.records("conversations")
    wire.before("PutItem", wire.lose_next_response)
    publish(*records)
    assert wire.requests.count("PutItem") == 2
    assert feed() == [(1, "conversation.created", 1)]


def test_other_publisher_between_query_and_put_gets_the_number(wire: Wire) -> None:
    conversation = create()
    others: list[Record] = []
    records = streams.records("conversations")

    def publish_other() -> None:
        if not others:
            update(conversation, is_pinned=True)
            others.append(latest())
            publish(*others)

    wire.before("PutItem", publish_other)
    publish(*records)
    assert feed() == [(1, "conversation.updated", 2), (2, "conversation.created", 1)]
    assert call("list_changes").body["head"] == 2


@pytest.mark.parametrize("fault", [(400, "ProvisionedThroughputExceededException"), (500, "InternalServerError"), None])
def test_single_fault_at_any_request_is_retried(fault: tuple[int, str] | None, wire: Wire) -> None:
    create()
    records = streams.records("conversations")

    def fail(request: AWSPreparedRequest) -> AWSResponse:
        if fault is None:
            raise ReadTimeoutError(endpoint_url=request.url)
        return error_response(request, *fault)

    publish(*records)
    for number in range(1, 5):
        wire.reset()
        wire.fault = lambda request, number=number: fail(request) if len(wire.requests) == number else None
        publish(*records)
        assert len(wire.requests) == 5
    assert len(feed()) == 5


def test_publisher_that_never_gets_a_number_fails(wire: Wire) -> None:
    create()
    wire.fault = lambda request: (
        error_response(request, 400, "ConditionalCheckFailedException") if wire.requests[-1] == "PutItem" else None
    )
    with pytest.raises(RuntimeError):
        publish()
    wire.reset()
    assert feed() == []


@pytest.mark.parametrize("part_off", ["events", "feed"])
def test_what_is_switched_off_makes_no_request(
    part_off: str, bus: Bus, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    create()
    records = streams.records("conversations")
    part, name = {"events": ("_bus", "_bus_name"), "feed": ("_feed", "_table_name")}[part_off]
    monkeypatch.setattr(getattr(app.publisher, part), name, "")
    wire.reset()
    publish(*records)
    assert bool(bus.requests) == (part_off == "feed")
    # There is always a Query for webhooks.
    assert (wire.requests == ["Query"]) == (part_off == "feed")


def test_no_time_left_fails_the_batch() -> None:
    create()
    with pytest.raises(errors.Unavailable):
        publish(*streams.records("conversations"), seconds=1)
    assert feed() == []


def test_row_expires_after_seven_days_and_the_head_never(pass_time: Callable[[int], None]) -> None:
    pass_time(0)
    create()
    publish()
    (row,) = tables.changes("kevin")
    created_at = int(row["created_at"]["N"])
    assert int(row["expires_at"]["N"]) - created_at == 7 * 24 * 60 * 60
    assert tables.delete_change("kevin", 0).keys() == {"user_id", "number", "head"}


def test_identity_of_an_event_has_no_ambiguous_parts() -> None:
    first = Change("kevin", "message.created", "a", 1, {}, 0)
    others = [first._replace(user_id="kevin1"), first._replace(version=2), first._replace(resource_id="b")]
    assert len({first.event_id, *(each.event_id for each in others)}) == 4
    assert first._replace(created_at=1, object={"id": "a"}).event_id == first.event_id
