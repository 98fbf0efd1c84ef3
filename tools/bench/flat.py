"""Flat cost: what a page and a call cost in DynamoDB while the conversations of the user grow."""

import itertools
import json
import math
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import patch

from botocore.config import Config
from coherent import ids
from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.inbox.models import CountUnread, ListInbox, UpdateInboxEntry
from coherent.inbox.repository import InboxRepository
from coherent.messages.models import CreateMessage, ListMessages, ReceiveMessage, UpdateMessage
from coherent.messages.repository import MessageRepository
from coherent.positions import new as new_position
from coherent.preconditions import ANY
from coherent.storage.dynamodb import Tables
from coherent.storage.rows import values
from samtranslator.yaml_helper import yaml_parse

from tools.bench import processes, report
from tools.bench.samples import USER_ID
from tools.local import emulator
from tools.local.environment import ROOT, aws_session, emulator_url

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

TITLE = "Flat cost: a page from 10 to 100,000 conversations"

_LIMIT = 10
_SIZES, _QUICK_SIZES = (10, 100, 1_000, 10_000, 100_000), (10, 100, 1_000)
_GROUP = "friends"
# The share of conversations that have each flag, independently of each other and of their age.
_SHARES = {"muted": 0.15, "archived": 0.10, "pinned": 0.05}
_INBOX_SHARES = _SHARES | {"unread": 0.30}
_GROUP_SHARE = 0.02


def _combinations(flags: Iterable[str]) -> list[dict[str, str]]:
    names = list(flags)
    return [
        {name: value for name, value in zip((*names, "group_id"), values, strict=True) if value}
        for values in itertools.product(*[(None, "true", "false")] * len(names), (None, _GROUP))
    ]


_COMBINATIONS, _INBOX_COMBINATIONS = _combinations(_SHARES), _combinations(_INBOX_SHARES)
_UNREAD = 3
# Requests of the calls that need more than one, besides lists of conversations.
_REQUESTS = {
    **dict.fromkeys(("list the messages of a conversation", "list all messages", "retrieve a message"), 2),
    **dict.fromkeys(("update a message", "delete a message", "delete a pinned message in a group"), 3),
    "pin a message in a group": 2,
    **dict.fromkeys(("mark as read", "mark as read in a group"), 2),
    **dict.fromkeys(("mute for an hour", "mute for an hour in a group"), 3),
}
_HEADER = ["conversations", "rows, median", "most rows", "most read units", "most requests"]
_FIRST_SECOND, _SECONDS_APART = 1_400_000_000, 3_600

_TEXT = """\
A user's first page of {limit} with each of the {filters} combinations of filters, by the repository against the
MiniStack emulator. 15 % of the conversations are muted, 10 % archived, 5 % pinned and 2 % in the group of the filter. A
filter is one Query of limit + 1 rows for each combination of the flags that it leaves open, so at most 8. Read units
are computed from the bytes read, by the rule in DynamoDB's documentation. The next section has the other calls."""
_INBOX_TEXT = """\
The same for the inbox with its {filters} combinations, where 30 % of the conversations are unread: at most 16 Queries,
and one BatchGetItem of the rows of the page."""


@dataclass
class Cost:
    """Requests to DynamoDB, rows that they read, and capacity units that they consume."""

    requests: int = 0
    rows: int = 0
    read_units: float = 0
    write_units: float = 0


class Meter:
    """Sums up the cost of a client's requests. Sends a Query once only until the next write: some take seconds."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._send = client._make_api_call  # type: ignore[attr-defined] # noqa: SLF001 - under all operations
        client._make_api_call = self._call  # type: ignore[attr-defined] # noqa: SLF001 - likewise
        self._lock = threading.Lock()
        self._responses: dict[str, Any] = {}
        self._cost = Cost()

    def measure(self, call: Callable[..., T], *arguments: object) -> tuple[T, Cost]:
        """Returns the result of *call* and its cost."""
        cost = self._cost = Cost()
        result = call(*arguments)
        # What follows belongs to no call.
        self._cost = Cost()
        return result, cost

    def _call(self, operation: str, request: dict[str, Any]) -> Any:  # noqa: ANN401 - any response
        key = json.dumps(request)
        response = self._responses.get(key) or self._send(operation, request | {"ReturnConsumedCapacity": "INDEXES"})
        with self._lock:
            self._cost.requests += 1
            if operation == "Query":
                self._responses[key] = response
                self._add_read(response["Items"], request)
            elif operation == "GetItem":
                self._add_read([response["Item"]] if "Item" in response else [], request)
            elif operation == "BatchGetItem":
                for table, requested in request["RequestItems"].items():
                    rows = response["Responses"][table]
                    # One that does not exist is read too.
                    for found in [*([row] for row in rows), *[[]] * (len(requested["Keys"]) - len(rows))]:
                        self._add_read(found, requested)
            else:
                self._responses.clear()
                consumed = response["ConsumedCapacity"]
                entries = consumed if isinstance(consumed, list) else [consumed]
                self._cost.write_units += sum(entry["CapacityUnits"] for entry in entries)
        return response

    def _add_read(self, rows: list[dict[str, Any]], options: dict[str, Any]) -> None:
        units = max(1, math.ceil(sum(map(_size, rows)) / 4096))
        self._cost.rows += len(rows)
        self._cost.read_units += units if options.get("ConsistentRead") else units / 2


def _size(value: Any) -> int:  # noqa: ANN401 - a row or a part of it
    """Returns at least the bytes that DynamoDB counts: also type names, and numbers by their digits."""
    if isinstance(value, dict):
        return sum(len(name) + _size(part) for name, part in value.items())
    return sum(map(_size, value)) if isinstance(value, list) else len(str(value).encode())


def measure(run: report.Run) -> report.Section:
    """Measures all combinations of filters at each size, and all other calls at the smallest and the largest size."""
    sizes = _QUICK_SIZES if run.quick else _SIZES
    task = run.progress.add_task("conversations", total=sizes[-1])
    pages: dict[int, list[Cost]] = {}
    calls: dict[int, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as folder, dynamodb(Path(folder)) as client:
        meter = Meter(client)
        tables = Tables(client, "conversations", "messages")
        conversations, inbox = ConversationRepository(tables), InboxRepository(tables)
        _finish_preparation(client)
        inbox.count_unread(USER_ID, CountUnread.parse({}, text=True).entries)
        inbox_pages: dict[int, list[Cost]] = {}
        rows = _rows()
        # Messages one minute apart, all after their conversation's creation: otherwise it would keep its position, and
        # its index rows.
        clock = itertools.count(time.time_ns() + 60 * 1_000_000_000, 60 * 1_000_000_000)
        for size in sizes:
            missing = itertools.islice(rows, size - max(pages, default=0))
            # DynamoDB takes 25 at once.
            while batch := list(itertools.islice(missing, 25)):
                puts: list[Any] = [{"PutRequest": {"Item": row}} for row in batch]
                client.batch_write_item(RequestItems={"conversations": puts})
                run.progress.advance(task, len(puts))
            queries = [ListConversations.parse(query | {"limit": str(_LIMIT)}, text=True) for query in _COMBINATIONS]
            pages[size] = [meter.measure(conversations.list, USER_ID, query)[1] for query in queries]
            entries = [ListInbox.parse(query | {"limit": str(_LIMIT)}, text=True) for query in _INBOX_COMBINATIONS]
            inbox_pages[size] = [meter.measure(inbox.list, USER_ID, query)[1] for query in entries]
            badge = meter.measure(inbox.count_unread, USER_ID, CountUnread.parse({}, text=True).entries)[1]
            if size in (sizes[0], sizes[-1]):
                calls[size] = _calls(conversations, MessageRepository(tables), inbox, meter, clock)
    few, many = calls.values()
    shown = {
        "list the inbox": inbox_pages[sizes[-1]][0],
        "list the inbox, `archived=false`": inbox_pages[sizes[-1]][_INBOX_COMBINATIONS.index({"archived": "false"})],
        "count unread": badge,
    }
    run.figures["flat"] = dict(zip(map(", ".join, _COMBINATIONS), pages[sizes[-1]], strict=True)), many | shown
    growth, inbox_growth = _growth(pages), _growth(inbox_pages)
    plot = {
        name: {row[0]: row[column] for row in growth} for column, name in ((1, "median filter"), (2, "worst filter"))
    }
    condition, bound = f"{sizes[0]:,} to {sizes[-1]:,} conversations", 8 * (_LIMIT + 1)
    most = max(page.rows for costs in pages.values() for page in costs)
    partitions = [2 ** len(_SHARES.keys() - query.keys()) if query else 1 for query in _COMBINATIONS]
    are_lists_planned = all([page.requests for page in costs] == partitions for costs in pages.values())
    most_entries = max(page.rows for costs in inbox_pages.values() for page in costs)
    inbox_bound = 16 * (_LIMIT + 1) + _LIMIT
    # One more for the rows of the page, if it has any.
    is_inbox_planned = all(
        page.requests in {queries := 2 ** len(_INBOX_SHARES.keys() - query.keys()), queries + 1}
        for costs in inbox_pages.values()
        for page, query in zip(costs, _INBOX_COMBINATIONS, strict=True)
    )
    are_calls_planned = all(cost.requests == _REQUESTS.get(name, 1) for name, cost in many.items())
    goals = [
        report.Goal("rows read for a page", f"{condition}, worst filter", f"≤ {bound}", f"{most}", most <= bound),
        report.Goal(
            "rows read for an inbox page",
            f"{condition}, worst filter",
            f"≤ {inbox_bound}",
            f"{most_entries}",
            most_entries <= inbox_bound,
        ),
        report.holds(
            "requests of each call",
            condition,
            "as designed",
            are_lists_planned and is_inbox_planned and are_calls_planned,
        ),
        report.holds("capacity units of calls that are no lists", condition, "constant", few == many),
    ]
    text = [
        _TEXT.format(limit=_LIMIT, filters=len(_COMBINATIONS)),
        report.table(_HEADER, growth),
        _INBOX_TEXT.format(filters=len(_INBOX_COMBINATIONS)),
        report.table(_HEADER, inbox_growth),
        report.bars({"Rows read for a page, by conversations of the user": plot}, "rows", run.folder / "flat.png"),
    ]
    return "\n\n".join(text), goals


def _growth(pages: dict[int, list[Cost]]) -> list[tuple[Any, ...]]:
    return [
        (
            f"{size:,}",
            statistics.median_low(page.rows for page in costs),
            *(max(getattr(page, figure) for page in costs) for figure in ("rows", "read_units", "requests")),
        )
        for size, costs in pages.items()
    ]


@contextmanager
def dynamodb(folder: Path) -> Iterator["DynamoDBClient"]:
    """Runs the emulator during the block, with the tables of `template.yaml`."""
    port = processes.free_port()
    with emulator.running(folder, port) as process:
        # It serves one request after the other, some of them in seconds.
        patient = Config(read_timeout=300, retries={"total_max_attempts": 1}, max_pool_connections=16)
        client = aws_session().client("dynamodb", endpoint_url=emulator_url(port), config=patient)
        resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
        for name in ("conversations", "messages", "changes"):
            table = resources[f"{name.title()}Table"]["Properties"]
            for index in table["GlobalSecondaryIndexes"]:
                # It is a parameter of the template.
                index.pop("OnDemandThroughput", None)
            parts = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
            client.create_table(TableName=name, **{part: table[part] for part in parts})
        yield client
        # Its state is not used later, so it is not saved.
        process.kill()


def _finish_preparation(client: "DynamoDBClient") -> None:
    row = {"user_id": "inbox#preparation", "id": "progress", "finished_at": _FIRST_SECOND}
    client.put_item(TableName="conversations", Item=values(row))


def _rows() -> Iterator[dict[str, Any]]:
    """Yields the conversations of the user, oldest first: one each hour, as they are after some use."""
    chance = random.Random(0)  # noqa: S311 - the same rows in each run
    for second in itertools.count(_FIRST_SECOND, _SECONDS_APART):
        times = {"created_at": second, "last_active_at": second + 3_601, "last_opened_at": second + 3_672}
        flags = {f"is_{name}": int(chance.random() < share) for name, share in _INBOX_SHARES.items()}
        id = ids.new(second * 1_000_000_000)
        texts = {"user_id": USER_ID, "id": id, "contact_id": "5d0e2b1c-6021-70d1-5b2f", "written_by": id}
        texts |= {"last_message_id": id, "read_up_to": id, "activity": new_position(second + 3_601, id)}
        if chance.random() < _GROUP_SHARE:
            texts |= {"group_id": _GROUP, "owner_group": f"{USER_ID}#{_GROUP}"}
        preview = {"id": id, "contact_id": texts["contact_id"], "message": "x" * 100, "created_at": second + 3_601}
        counts = {"unread_count": _UNREAD * flags["is_unread"], "unread_revision": 2, "version": 5}
        yield values(times | flags | counts | texts | {"last_message": preview})


def _calls(
    conversations: ConversationRepository,
    messages: MessageRepository,
    inbox: InboxRepository,
    meter: Meter,
    clock: Iterator[int],
) -> dict[str, Cost]:
    """Returns the cost of each call that does not list conversations. Leaves no conversation behind."""
    costs: dict[str, Cost] = {}

    def metered(name: str, call: Callable[..., T], *arguments: object) -> T:
        result, costs[name] = meter.measure(call, USER_ID, *arguments)
        return result

    def create(name: str, key: str | None, **attributes: str) -> str:
        new = CreateConversation.parse({"contact_id": "harry"} | attributes, text=True)
        return metered(name, conversations.create, new, key).version.resource["id"]

    now = int(time.time())
    alone, grouped = create("create", None), create("create in a group", None, group_id=_GROUP)
    keyed = create("create with an idempotency key", ids.new(time.time_ns()))
    metered("retrieve", conversations.retrieve, alone)
    for where, id in (("", alone), (" in a group", grouped)):
        opened = UpdateConversation.parse({"last_opened_at": now}, text=False)
        metered(f"mark as opened{where}", conversations.update, id, opened, ANY)
        muted = UpdateConversation.parse({"is_muted": True}, text=False)
        metered(f"pin, mute or archive{where}", conversations.update, id, muted, ANY)
        new = CreateMessage.parse({"conversation_id": id, "message": "Merry Christmas, you filthy animal!"}, text=False)
        with patch("time.time_ns", lambda: next(clock)):
            sent = [metered(f"send a message{where}", messages.create, new, None) for _ in range(_LIMIT + 1)]
            event = new.model_dump() | {"user_id": USER_ID, "contact_id": "harry"}
            received = ReceiveMessage.parse(event, text=False)
            costs[f"receive a message{where}"] = meter.measure(messages.receive, received, ids.new(time.time_ns()))[1]
        metered("retrieve an inbox entry", inbox.retrieve, id)
        read = UpdateInboxEntry.parse({"is_unread": False}, text=False)
        metered(f"mark as read{where}", inbox.update, id, read, ANY)
        until = UpdateInboxEntry.parse({"muted_until": now + 3600}, text=False)
        metered(f"mute for an hour{where}", inbox.update, id, until, ANY)
    message_id, pinned_id, *_ = [creation.version.resource["id"] for creation in sent]
    of_one = ListMessages.parse({"conversation_id": grouped}, text=True)
    metered("list the messages of a conversation", messages.list, of_one)
    metered("list all messages", messages.list, ListMessages.parse({}, text=True))
    metered("retrieve a message", messages.retrieve, message_id)
    metered("update a message", messages.update, message_id, UpdateMessage.parse({"read_at": now}, text=False), ANY)
    metered("delete a message", messages.delete, message_id, ANY)
    pin = UpdateConversation.parse({"pinned_message_id": pinned_id}, text=False)
    metered("pin a message in a group", conversations.update, grouped, pin, ANY)
    metered("delete a pinned message in a group", messages.delete, pinned_id, ANY)
    metered("delete", conversations.delete, alone, ANY)
    metered("delete in a group", conversations.delete, grouped, ANY)
    conversations.delete(USER_ID, keyed, ANY)
    return costs
