"""The partitions that requests write to. One partition takes 1,000 write units a second."""

from typing import Any

import pytest

from tests.handlers import Context, call, create, event, handler, send
from tests.unit.test_dynamodb_faults import CALLS
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("tables")

PARTITION_KEYS = ("user_id", "user_conversation")


def partitions(value: Any) -> set[str]:
    """Returns the partition keys in a request."""
    if isinstance(value, list):
        return {partition for element in value for partition in partitions(element)}
    if not isinstance(value, dict):
        return set()
    own = {value[name]["S"] for name in PARTITION_KEYS if isinstance(value.get(name), dict) and "S" in value[name]}
    return own | {partition for element in value.values() for partition in partitions(element)}


def written(wire: Wire, user: str) -> set[str]:
    """Returns the partitions that all calls of *user* write to."""
    wire.reset()
    for name in CALLS:
        conversation = create(user)
        parameters = CALLS[name](conversation["id"], send(conversation, user=user)["id"])
        call(name.partition(" ")[0], user=user, **parameters)
    received = event("receive_message")
    received["detail"] |= {"user_id": user, "conversation_id": create(user)["id"]}
    handler("receive_message")(received | {"id": f"event of {user}"}, Context(25))
    writes = ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem")
    return {
        partition
        for operation, body in zip(wire.requests, wire.bodies, strict=True)
        if operation in writes
        for partition in partitions(body)
    }


def test_users_share_only_partitions_of_tombstones_and_timed_mutes(wire: Wire) -> None:
    kevin, harry = written(wire, "kevin"), written(wire, "harry")
    assert {"kevin", "idempotency#kevin"} < kevin
    shared = ("purge#", "unmute#")
    assert all("kevin" in partition or partition.startswith(shared) for partition in kevin)
    assert {partition for partition in kevin & harry if not partition.startswith(shared)} == set()
