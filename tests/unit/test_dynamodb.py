"""The DynamoDB client: its settings, its model of items, and retries of conflicts."""

import itertools
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from coherent import errors
from coherent.conversations.models import UpdateConversation
from coherent.messages.models import UpdateMessage
from coherent.parameters import Changes
from coherent.storage import client, dynamodb
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from tests import tables
from tests.handlers import call, create, purge, send, sweep
from tests.unit.test_dynamodb_faults import CALLS, prepared
from tests.wire import Wire, response

CONFLICT, FAILED_CONDITION = "TransactionConflictException", "ConditionalCheckFailedException"
# Members of items: the overlay declares these shapes as documents.
ROW = {
    "text": {"S": "Merry Christmas, ☃"},
    "number": {"N": "1790000000"},
    "null": {"NULL": True},
    "list": {"L": [{"M": {"reaction": {"S": "heart"}, "contact_id": {"NULL": True}}}, {"L": []}]},
}


def connect_without_overlay() -> Any:
    return botocore.session.get_session().create_client("dynamodb", config=Config(parameter_validation=False))


def respond_with(connected: Any, *bodies: dict[str, Any]) -> list[AWSPreparedRequest]:
    """Makes the client *connected* respond with *bodies* in turn, then with {}. Returns the list of its requests."""
    sent: list[AWSPreparedRequest] = []
    remaining = iter(bodies)

    def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request)
        # botocore calls moto's handler too; moto does not match this URL.
        request.url = "http://nowhere.invalid/"
        return response(request, next(remaining, {}))

    connected.meta.events.register_first("before-send.dynamodb", send)
    return sent


def client_error(code: str, *, is_ambiguous: bool = False) -> ClientError:
    parsed: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error = ClientError(parsed, "UpdateItem")
    if is_ambiguous:
        client.mark_ambiguous(error)
    return error


def test_requests_are_not_validated_and_have_a_fixed_user_agent() -> None:
    connected = dynamodb.connect().client
    sent = respond_with(connected)
    # botocore's validation would reject the empty name.
    connected.get_item(TableName="", Key={})
    user_agent: Any = sent[0].headers["User-Agent"]
    # Powertools appends its own name.
    assert user_agent.partition(b" ")[0] == b"coherent-conversations"


def test_overlay_declares_items_as_documents() -> None:
    shapes: Any = dynamodb.connect().client.meta.service_model
    plain = connect_without_overlay().meta.service_model
    documents = {name for name in shapes.shape_names if getattr(shapes.shape_for(name), "is_document_type", False)}
    of_values = {
        name
        for name in plain.shape_names
        if plain.shape_for(name).type_name == "map" and plain.shape_for(name).value.name == "AttributeValue"
    }
    # The first is a part of AttributeValue, the second belongs to metrics that no request wants.
    assert documents == {"AttributeValue"} | of_values - {"MapAttributeValue", "ItemCollectionKeyAttributeMap"}


def test_overlay_does_not_change_responses() -> None:
    bodies: dict[str, dict[str, Any]] = {
        "query": {"Items": [ROW, {}], "Count": 2, "ScannedCount": 2, "LastEvaluatedKey": {"id": {"S": "a"}}},
        "get_item": {"Item": ROW},
        "batch_get_item": {"Responses": {"messages": [ROW]}, "UnprocessedKeys": {"messages": {"Keys": [ROW]}}},
        "update_item": {"Attributes": ROW, "ConsumedCapacity": {"TableName": "messages", "CapacityUnits": 1.5}},
        "batch_write_item": {"UnprocessedItems": {"messages": [{"DeleteRequest": {"Key": ROW}}]}},
    }
    for connected in (client.connect("dynamodb"), connect_without_overlay()):
        respond_with(connected, *bodies.values())
        for operation, body in bodies.items():
            parameters: dict[str, Any] = {"RequestItems": {}} if operation.startswith("batch") else {}
            parsed = getattr(connected, operation)(**parameters)
            del parsed["ResponseMetadata"]
            assert parsed == body


@pytest.mark.usefixtures("tables", "no_backoff")
def test_overlay_does_not_change_requests(wire: Wire) -> None:
    for name in CALLS:
        assert prepared(name)().status in (200, 201, 204)
    conversation = create()
    send(conversation)
    call("delete_conversation", id=conversation["id"])
    purge(("kevin", conversation["id"]))
    tables.age_tombstones()
    sweep()
    recorded = wire.serialized
    assert {operation for operation, _, _ in recorded} == {
        *("BatchGetItem", "BatchWriteItem", "GetItem", "PutItem", "Query", "TransactWriteItems", "UpdateItem"),
    }
    plain = connect_without_overlay()
    sent = respond_with(plain)
    for operation, parameters, _ in recorded:
        getattr(plain, xform_name(operation))(**parameters)
    assert [request.body for request in sent] == [body for _, _, body in recorded]


def test_conflict_is_retried_after_growing_random_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[list[float]] = []

    def record_wait(seconds: float) -> None:
        waits[-1].append(seconds)

    def write() -> None:
        raise client_error(CONFLICT)

    monkeypatch.setattr("coherent.storage.dynamodb.time.sleep", record_wait)
    for _ in range(50):
        waits.append([])
        with pytest.raises(errors.Unavailable):
            dynamodb.retry_conflicts(write)
    longest = [max(nth) for nth in zip(*waits, strict=True)]
    assert [len(each) for each in waits] == [5] * 50
    assert all(after > before for before, after in itertools.pairwise(longest))
    assert 2 < sum(longest) < 3.2
    assert len({each[0] for each in waits}) == 50


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("ambiguous_attempt", [None, 1, 2, 3])
def test_error_is_ambiguous_if_any_attempt_was(ambiguous_attempt: int | None) -> None:
    attempts = itertools.count(1)

    def write() -> None:
        attempt = next(attempts)
        raise client_error(CONFLICT if attempt < 3 else FAILED_CONDITION, is_ambiguous=attempt == ambiguous_attempt)

    with pytest.raises(ClientError, match=FAILED_CONDITION) as raised:
        dynamodb.retry_conflicts(write)
    assert client.is_ambiguous(raised.value) is (ambiguous_attempt is not None)


@pytest.mark.parametrize("model", [UpdateConversation, UpdateMessage])
def test_attributes_are_not_reserved_words(model: type[Changes]) -> None:
    reserved = set(ReservedKeywords.get_reserved_keywords())
    assert "STATUS" in reserved
    assert not {name.upper() for name in model.model_fields} & reserved
