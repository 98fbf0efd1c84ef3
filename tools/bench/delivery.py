"""Delivery: what a message to another user of the stack costs in DynamoDB, in both mailboxes."""

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar
from unittest.mock import patch

from coherent.conversations.models import CreateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.delivery.mailbox import Mailbox
from coherent.messages import orders
from coherent.messages.models import CreateMessage, ListMessages, UpdateMessage
from coherent.messages.repository import MessageRepository
from coherent.preconditions import ANY
from coherent.storage.dynamodb import Tables

from tools.bench import report
from tools.bench.flat import Cost, Meter, dynamodb
from tools.bench.samples import USER_ID as KEVIN
from tools.local.environment import REGION

T = TypeVar("T")

TITLE = "Delivery between users"

HARRY = "7d1f2c56-90b1-70ab-b0c4-1f2a3e4d5c6b"
# The limits of the template, which are counted.
_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": REGION,
    "DELIVERY": "internal",
    "SEND_LIMIT": "120",
    "SEND_LIMIT_PER_CONTACT": "60",
}
# Requests of the call and of the delivery, as the table of docs/architecture.md says.
_REQUESTS = {
    "first message": (4, 8),
    "later message": (4, 6),
    "edit of the last message": (5, 7),
    "reaction to a contact's message": (5, 6),
    "deletion of the last message for everyone": (4, 7),
}

_TEXT = """\
What a call of one user and the delivery to the other one cost in DynamoDB with `Delivery=internal`, by the repositories
against the MiniStack emulator. All rows are shorter than 1 KB, and the conversations are in no group. The recipient of
the first message has a conversation with another contact only, and is not remembered as a user. Read units are computed
as above; a transaction writes two units for each row, and one in each index, or two if the row moves there."""


class Delivered(NamedTuple):
    """The costs of a user's call, and of the delivery of what it ordered."""

    call: Cost
    delivery: Cost


def measure(run: report.Run) -> report.Section:
    """Measures each kind of delivery. Leaves the costs in `run.figures`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        dynamodb(Path(folder)) as client,
        patch.dict(os.environ, _ENVIRONMENT),
    ):
        costs = run.figures["delivery"] = _costs(Tables(client, "conversations", "messages"))
    requests = {name: (cost.call.requests, cost.delivery.requests) for name, cost in costs.items()}
    units = ["read units", "write units"]
    header = ["", "call: requests", *units, "delivery: requests", *units]
    rows = [
        [name, *(figure for each in cost for figure in (each.requests, each.read_units, each.write_units))]
        for name, cost in costs.items()
    ]
    goal = report.holds("requests of each delivery", "between two users", "as designed", requests == _REQUESTS)
    return f"{_TEXT}\n\n{report.table(header, rows)}", [goal]


def _costs(tables: Tables) -> dict[str, Delivered]:
    meter = Meter(tables.client)
    conversations, messages, mailbox = ConversationRepository(tables), MessageRepository(tables), Mailbox(tables)
    costs: dict[str, Delivered] = {}
    everything = ListMessages.parse({}, text=True)

    def measured(name: str, sender: str, recipient: str, call: Callable[..., T], *arguments: object) -> T:
        result, of_call = meter.measure(call, sender, *arguments)
        _, of_delivery = meter.measure(mailbox.deliver, orders.pair(sender, recipient))
        costs[name] = Delivered(of_call, of_delivery)
        return result

    # One minute apart: in the same second, a conversation would keep its position, and its index rows.
    clock = itertools.count(time.time_ns() - 3_600 * 1_000_000_000, 60 * 1_000_000_000)
    with patch("time.time_ns", lambda: next(clock)):
        conversations.create(HARRY, CreateConversation.parse({"contact_id": "marv"}, text=True), None)
        new = CreateConversation.parse({"contact_id": HARRY}, text=True)
        id = conversations.create(KEVIN, new, None).version.resource["id"]
        message = CreateMessage.parse(
            {"conversation_id": id, "message": "Keep the change, you filthy animal!"}, text=False
        )
        measured("first message", KEVIN, HARRY, messages.create, message, None)
        # From now on kevin is remembered as a user too.
        (copy,) = messages.list(HARRY, everything).data
        reply = CreateMessage.parse({"conversation_id": copy["conversation_id"], "message": "Merry"}, text=False)
        messages.create(HARRY, reply, None)
        mailbox.deliver(orders.pair(HARRY, KEVIN))
        sent = measured("later message", KEVIN, HARRY, messages.create, message, None).version.resource["id"]
        edit = UpdateMessage.parse({"message": "Merry Christmas, you filthy animal!"}, text=False)
        measured("edit of the last message", KEVIN, HARRY, messages.update, sent, edit, ANY)
        copy = messages.list(HARRY, everything).data[0]
        reaction = UpdateMessage.parse({"reactions": [{"reaction": "heart", "contact_id": None}]}, text=False)
        measured("reaction to a contact's message", HARRY, KEVIN, messages.update, copy["id"], reaction, ANY)
        name = "deletion of the last message for everyone"
        measured(name, KEVIN, HARRY, lambda user: messages.delete(user, sent, ANY, is_for_everyone=True))
    return costs
