"""Whether a page costs the same whatever its user owns, and what each call costs, in units and requests of DynamoDB."""

import itertools
import json
import math
import random
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from botocore.config import Config
from coherent import ids
from coherent.conversations.models import CreateConversation, ListConversations, UpdateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.messages.models import CreateMessage, ListMessages, UpdateMessage
from coherent.messages.repository import MessageRepository
from coherent.storage.dynamodb import Tables
from matplotlib.figure import Figure
from samtranslator.yaml_helper import yaml_parse

from tools.bench.responses import USER_ID
from tools.local.environment import HOST, MINISTACK_PYTHON, REGION, ROOT, aws_session, emulator_url, of_emulator
from tools.local.failure import Failure

if TYPE_CHECKING:
    from botocore.hooks import BaseEventHooks
    from mypy_boto3_dynamodb import DynamoDBClient
    from rich.progress import Progress

P = ParamSpec("P")
T = TypeVar("T")

TITLE = "What a page reads, as its user's conversations grow"

LIMIT = 10
_SIZES = (10, 100, 1_000, 10_000, 100_000)
_QUICK_SIZES = _SIZES[:3]
_GROUP = "friends"
# How many of a user's conversations are so, independently of each other and of their age.
_SHARES = {"archived": 0.10, "pinned": 0.05, "muted": 0.15, "group_id": 0.02}

_SHOWN = {"archived": "archived", "pinned": "pinned", "muted": "muted", "group_id": "in the group asked for"}

_MESSAGE = "Merry Christmas, you filthy animal!"

_FLAGS = ("muted", "archived", "pinned")
_COMBINATIONS: list[dict[str, str]] = [
    {name: value for name, value in zip((*_FLAGS, "group_id"), values, strict=True) if value}
    for values in itertools.product(*[(None, "true", "false")] * 3, (None, _GROUP))
]

_USUAL = "usual"
# The emulator takes ever longer for a query; what is calculated of the usual design is checked up to here.
_LARGEST_CHECKED = 1_000
_FIRST_SECOND, _SECONDS_APART = 1_400_000_000, 3_600
_BATCH = 25
_READS = {"Query", "GetItem", "BatchGetItem"}
_START_SECONDS = 60


# What each filter asks about a conversation, in their order.
_Kind = tuple[str | None, ...]


@dataclass
class _Cost:
    """Of one call or page: requests to DynamoDB, items that they read, units that they consume."""

    requests: int = 0
    items: int = 0
    read_units: float = 0
    write_units: float = 0


class _Meter:
    """What the requests of a client have cost since the last reset.

    A Query that was answered since the last write is answered from memory, and costs what it cost: the 54 combinations
    ask only 17 different ones, of which the emulator takes seconds for each.
    """

    def __init__(self, events: "BaseEventHooks") -> None:
        events.register("provide-client-params.dynamodb", self._ask)
        events.register("before-call.dynamodb", self._before_call)
        events.register("after-call.dynamodb", self._after_call)
        self._lock = threading.Lock()
        self._answers: dict[bytes, Any] = {}
        self.reset()

    def reset(self) -> None:
        self.cost = _Cost()

    def _ask(self, params: dict[str, Any], model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's own
        if "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "INDEXES"

    def _before_call(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> Any:  # noqa: ANN401
        context["sent"] = params["body"]
        return self._answers.get(params["body"])

    def _after_call(
        self,
        http_response: object,
        parsed: dict[str, Any],
        model: Any,  # noqa: ANN401
        context: dict[str, Any],
        **_: object,
    ) -> None:
        with self._lock:
            self.cost.requests += 1
            if model.name not in _READS:
                self._answers.clear()
                consumed = parsed.get("ConsumedCapacity", [])
                for entry in consumed if isinstance(consumed, list) else [consumed]:
                    self.cost.write_units += entry["CapacityUnits"]
                return
            if model.name == "Query":
                self._answers[context["sent"]] = http_response, parsed
            for rows, is_consistent in _read(model.name, json.loads(context["sent"]), parsed):
                self.cost.items += len(rows)
                self.cost.read_units += _read_units(sum(map(_bytes, rows)), is_consistent=is_consistent)


def _read(operation: str, request: dict[str, Any], response: dict[str, Any]) -> Iterator[tuple[list[Any], bool]]:
    """The rows that are rounded up together, and whether they were read consistently."""
    if operation == "BatchGetItem":
        for table, rows in response["Responses"].items():
            for row in rows:
                yield [row], request["RequestItems"][table].get("ConsistentRead", False)
    else:
        yield response["Items"] if operation == "Query" else [response["Item"]], request.get("ConsistentRead", False)


def _read_units(size: int, *, is_consistent: bool) -> float:
    """The units of one read of so many bytes, as DynamoDB's documentation has it."""
    return max(1, math.ceil(size / 4096)) * (1 if is_consistent else 0.5)


def _bytes(row: dict[str, Any]) -> int:
    """The size of *row* as DynamoDB counts it."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in row.items())


def _value_bytes(value: dict[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "N":
        return 1 + math.ceil(len(content.strip("-0")) / 2)
    if kind == "L":
        return 3 + sum(1 + _value_bytes(element) for element in content)
    if kind == "M":
        return 3 + len(content) + _bytes(content)
    return 1


def measure(progress: "Progress", *, quick: bool) -> dict[str, Any]:
    """Items, units and requests of a page for each combination and size, in both designs; and those of each call."""
    sizes = _QUICK_SIZES if quick else _SIZES
    loading = progress.add_task("Giving a user conversations", total=sizes[-1])
    listing = progress.add_task("Listing them with 54 filters", total=len(sizes) * len(_COMBINATIONS))
    ours: list[list[dict[str, float]]] = []
    usual: list[list[dict[str, float]]] = []
    calls: dict[str, dict[str, dict[str, float]]] = {}
    exact = True
    with tempfile.TemporaryDirectory() as folder, _dynamodb(Path(folder)) as client:
        meter = _Meter(client.meta.events)
        conversations = ConversationRepository(Tables(client, "conversations", "messages"))
        rows = _rows()
        kinds: list[_Kind] = []
        row_sizes: list[int] = []
        for size in sizes:
            for made in _loaded(client, itertools.islice(rows, size - len(kinds))):
                kinds += [kind for kind, _ in made]
                row_sizes += [_bytes(row) for _, row in made]
                progress.advance(loading, len(made))
            pages = []
            for query in _COMBINATIONS:
                pages.append(_page(conversations, meter, query))
                progress.advance(listing)
            exact = exact and [page.items for page in pages] == [_held(kinds, query) for query in _COMBINATIONS]
            ours.append([asdict(page) for page in pages])
            theirs = [_usual_page(kinds, row_sizes, query) for query in _COMBINATIONS]
            usual.append([asdict(page) for page in theirs])
            if size <= _LARGEST_CHECKED:
                _check_usual(client, theirs, kinds)
            if size in (sizes[0], sizes[-1]):
                calls[str(size)] = _calls(
                    conversations, MessageRepository(Tables(client, "conversations", "messages")), meter
                )
    return {
        "limit": LIMIT,
        "sizes": list(sizes),
        "shares": _SHARES,
        "row_bytes": round(statistics.mean(row_sizes)),
        "combinations": [{"query": query, "partitions": _partitions(query)} for query in _COMBINATIONS],
        "ours": ours,
        "usual": usual,
        "ours_reads_what_partitions_hold": exact,
        "calls": calls,
    }


@contextmanager
def _dynamodb(folder: Path) -> Iterator["DynamoDBClient"]:
    """The emulator as a process of its own, with the tables of `template.yaml` and the usual one. Raises `Failure`."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    settings = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "MINISTACK_REGION": REGION,
        "STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder),
    }
    with (folder / "emulator.log").open("wb") as log:
        process = subprocess.Popen(
            [MINISTACK_PYTHON, "-m", "ministack"],
            cwd=folder,
            env=of_emulator() | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _await_ready(process, port)
        # It answers one request after the other, some of them after seconds.
        patient = Config(read_timeout=300, retries={"total_max_attempts": 1}, max_pool_connections=16)
        client = aws_session().client("dynamodb", endpoint_url=emulator_url(port), config=patient)
        _create_tables(client)
        yield client
    finally:
        process.kill()
        process.wait()


def _await_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{emulator_url(port)}/_ministack/health", timeout=5).close()  # noqa: S310 - http
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise Failure("The emulator did not start.")


def _create_tables(client: "DynamoDBClient") -> None:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    for name in ("conversations", "messages"):
        table = resources[f"{name.title()}Table"]["Properties"]
        parts = ("BillingMode", "AttributeDefinitions", "KeySchema")
        # Without the throughput's limits, which are parameters.
        of_index = ("IndexName", "KeySchema", "Projection")
        indexes: Any = [{part: index[part] for part in of_index} for index in table["GlobalSecondaryIndexes"]]
        client.create_table(TableName=name, GlobalSecondaryIndexes=indexes, **{part: table[part] for part in parts})
    client.create_table(
        TableName=_USUAL,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("user_id", "id")],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "by_user",
                "KeySchema": [
                    {"AttributeName": "user_id", "KeyType": "HASH"},
                    {"AttributeName": "id", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )


def _rows() -> Iterator[tuple[_Kind, dict[str, Any]]]:
    """The conversations of the user, oldest first: one each hour, as they look after some use."""
    chance = random.Random(0)  # noqa: S311 - the same ones each time
    for number in itertools.count():
        has = {name: chance.random() < share for name, share in _SHARES.items()}
        kind = (*(str(has[name]).lower() for name in _FLAGS), _GROUP if has["group_id"] else None)
        second = _FIRST_SECOND + number * _SECONDS_APART
        row = {
            "user_id": {"S": USER_ID},
            "id": {"S": ids.new(second * 1_000_000_000)},
            "contact_id": {"S": f"5d0e{number:08d}-6021-70d1-5b2f"},
            **{f"is_{name}": {"N": str(int(has[name]))} for name in _FLAGS},
            "created_at": {"N": str(second)},
            "last_active_at": {"N": str(second + 3_601)},
            "last_opened_at": {"N": str(second + 3_672)},
            "version": {"N": "5"},
            "written_by": {"S": ids.new(second * 1_000_000_000)},
        }
        if has["archived"]:
            row["archived_at"] = {"N": str(second + 7_271)}
        if has["group_id"]:
            row |= {"group_id": {"S": _GROUP}, "owner_group": {"S": f"{USER_ID}#{_GROUP}"}}
        yield kind, row


def _loaded(
    client: "DynamoDBClient", rows: Iterator[tuple[_Kind, dict[str, Any]]]
) -> Iterator[Sequence[tuple[_Kind, dict[str, Any]]]]:
    """Puts *rows* into the table, and gives them back batch by batch."""
    count = itertools.count()

    def load(batch: Sequence[tuple[_Kind, dict[str, Any]]]) -> Sequence[tuple[_Kind, dict[str, Any]]]:
        puts: list[Any] = [{"PutRequest": {"Item": row}} for _, row in batch]
        client.batch_write_item(RequestItems={"conversations": puts})
        if next(count) * _BATCH < _LARGEST_CHECKED:
            client.batch_write_item(RequestItems={_USUAL: puts})
        return batch

    batches = iter(lambda: list(itertools.islice(rows, _BATCH)), [])
    with ThreadPoolExecutor(4) as threads:
        # Not all at once: a hundred thousand rows are half a gigabyte.
        while started := list(itertools.islice(batches, 100)):
            yield from threads.map(load, started)


def _page(conversations: ConversationRepository, meter: _Meter, query: dict[str, str]) -> _Cost:
    meter.reset()
    conversations.list(USER_ID, ListConversations.parse(query | {"limit": str(LIMIT)}, text=True))
    return meter.cost


def _partitions(query: dict[str, str]) -> int:
    """How many partitions our design reads for *query*: the table's own, or those of the flags it leaves open."""
    return 2 ** (3 - len(query.keys() - {"group_id"})) if query else 1


def _matches(kind: _Kind, query: dict[str, str]) -> bool:
    return query.items() <= dict(zip((*_FLAGS, "group_id"), kind, strict=True)).items()


def _held(kinds: Sequence[_Kind], query: dict[str, str]) -> int:
    """What our design ought to read for *query*: of each partition `limit + 1` items, or all if there are fewer."""
    if not query:
        return min(LIMIT + 1, len(kinds))
    partitions: Counter[_Kind] = Counter()
    for kind, count in Counter(kinds).items():
        if _matches(kind, query):
            partitions[kind[: len(_FLAGS)]] += count
    return sum(min(LIMIT + 1, count) for count in partitions.values())


def _usual_page(kinds: Sequence[_Kind], row_sizes: Sequence[int], query: dict[str, str]) -> _Cost:
    """The least that a page costs with one index by user, newest first, and a FilterExpression.

    It has to read all that is newer than the last match, however it is divided into requests; each may read 1 MB.
    """
    wanted = {kind for kind in set(kinds) if _matches(kind, query)}
    matches = (place for place, kind in enumerate(reversed(kinds), start=1) if kind in wanted)
    found = list(itertools.islice(matches, LIMIT + 1))
    items = found[-1] if len(found) > LIMIT else len(kinds)
    size = sum(row_sizes[-items:])
    return _Cost(math.ceil(size / 2**20), items, _read_units(size, is_consistent=False))


def _check_usual(client: "DynamoDBClient", pages: Sequence[_Cost], kinds: Sequence[_Kind]) -> None:
    """Compares what was calculated with what the emulator reads: one Query for just as many items. Raises `Failure`."""
    for query, page in zip(_COMBINATIONS, pages, strict=True):
        names = {"group_id": "group_id"} | {name: f"is_{name}" for name in _FLAGS}
        values = {_GROUP: {"S": _GROUP}, "true": {"N": "1"}, "false": {"N": "0"}}
        request: dict[str, Any] = {"ExpressionAttributeValues": {":user_id": {"S": USER_ID}}}
        if query:
            request["FilterExpression"] = " AND ".join(f"{names[name]} = :{name}" for name in query)
            request["ExpressionAttributeValues"] |= {f":{name}": values[value] for name, value in query.items()}
        response = client.query(
            TableName=_USUAL,
            IndexName="by_user",
            KeyConditionExpression="user_id = :user_id",
            ScanIndexForward=False,
            Limit=page.items,
            **request,
        )
        matching = min(LIMIT + 1, sum(_matches(kind, query) for kind in kinds))
        if (response["ScannedCount"], response["Count"]) != (page.items, matching):
            raise Failure(f"Of the usual design, {query} reads {response['ScannedCount']} items, not {page.items}.")


def _calls(
    conversations: ConversationRepository, messages: MessageRepository, meter: _Meter
) -> dict[str, dict[str, float]]:
    """What each call costs that is no list of conversations. Nothing is left of it among the user's conversations."""
    costs: dict[str, dict[str, float]] = {}

    def metered(name: str, call: Callable[P, T], *arguments: P.args, **parameters: P.kwargs) -> T:
        meter.reset()
        response = call(*arguments, **parameters)
        costs[name] = asdict(meter.cost)
        return response

    def create(name: str, key: str | None, **attributes: str) -> str:
        new = CreateConversation.parse(attributes, text=True)
        return metered(name, conversations.create, USER_ID, new, key).version.resource["id"]

    now = int(time.time())
    key = ids.new(time.time_ns())
    alone = create("create", None, contact_id="harry")
    grouped = create("create in a group", None, contact_id="harry", group_id=_GROUP)
    keyed = create("create with an idempotency key", key, contact_id="harry")
    keyed_grouped = create("create in a group with an idempotency key", f"{key}2", contact_id="harry", group_id=_GROUP)
    metered("retrieve", conversations.retrieve, USER_ID, alone)
    for where, id in (("", alone), (" in a group", grouped)):
        opened = UpdateConversation.parse({"last_opened_at": now}, text=False)
        metered(f"mark as opened{where}", conversations.update, USER_ID, id, opened, None)
        muted = UpdateConversation.parse({"is_muted": True}, text=False)
        metered(f"pin, mute or archive{where}", conversations.update, USER_ID, id, muted, None)
        said = CreateMessage.parse({"conversation_id": id, "message": _MESSAGE}, text=False)
        sent = [metered(f"send a message{where}", messages.create, USER_ID, said, None, None) for _ in range(LIMIT + 1)]
    message_id, pinned_id, *_ = [creation.version.resource["id"] for creation in sent]
    of_one = ListMessages.parse({"conversation_id": grouped}, text=True)
    metered("list the messages of one", messages.list, USER_ID, of_one)
    metered("list all messages", messages.list, USER_ID, ListMessages.parse({}, text=True))
    metered("retrieve a message", messages.retrieve, USER_ID, message_id)
    read = UpdateMessage.parse({"read_at": now}, text=False)
    metered("update a message", messages.update, USER_ID, message_id, read, None)
    metered("delete a message", messages.delete, USER_ID, message_id, None)
    pin = UpdateConversation.parse({"pinned_message_id": pinned_id}, text=False)
    metered("pin a message in a group", conversations.update, USER_ID, grouped, pin, None)
    metered("delete a pinned message in a group", messages.delete, USER_ID, pinned_id, None)
    metered("delete", conversations.delete, USER_ID, alone, None)
    metered("delete in a group", conversations.delete, USER_ID, grouped, None)
    for id in (keyed, keyed_grouped):
        conversations.delete(USER_ID, id, None)
    return costs


def table(found: dict[str, Any]) -> str:
    """What was measured, the growth of both designs, and the cost of each call."""
    sizes, limit = found["sizes"], found["limit"]
    shares = ", ".join(f"{100 * share:g} % {_SHOWN[name]}" for name, share in found["shares"].items())
    is_exact = found["ours_reads_what_partitions_hold"]
    exact = "each combination did just that at each size" if is_exact else "**but not each combination did so**"
    counts = ", ".join(f"{count} at {size:,}" for count, size in zip(_full(found), sizes, strict=True))
    return f"""\
One user's first page of {limit}, with each of the {len(found["combinations"])} combinations of filters, while
{sizes[0]:,} conversations become {sizes[-1]:,}: {shares}, independently of each other and of their age.
The repository runs against MiniStack. Read units are computed from the bytes of the rows read (of {found["row_bytes"]}
bytes on average) by the rule in DynamoDB's documentation; MiniStack counts a query as one unit whatever it reads.

*Usual* is the same table with one index (user, id) and a FilterExpression. Its figures are the least that such a query
can do: it reads all that is newer than the last match, 1 MB a request, one request after the other. They are
calculated, and checked with queries up to {min(sizes[-1], _LARGEST_CHECKED):,} conversations. Shares that grow with the
user favour it: of five pinned among ever more it would read all. While there are few conversations, it is cheaper.

{_growth(found)}

Items are the median, what one combination in ten exceeds, and the worst. Our requests go out in parallel. Of each
partition of its filter a page reads limit + 1 items, or all where one holds fewer; {exact}.
So it reads the same number once each of them holds that many, which is so for {counts}.

{_costs(found["calls"][str(sizes[-1])])}

Write units are MiniStack's, which counts two for each look at another row within a transaction. A list of all messages
reads one unit more for each further conversation in it. A purge writes two for each message, and one in the end."""


def _growth(found: dict[str, Any]) -> str:
    columns = ["conversations", "worst: usual / ours", "items, ours", "items, usual"]
    columns += ["most read units, ours", "usual", "most requests, ours", "usual"]
    lines = [f"| {' | '.join(columns)} |", "|--:" * len(columns) + "|"]
    for size, ours, usual in zip(found["sizes"], found["ours"], found["usual"], strict=True):
        cells = [
            f"{size:,}",
            f"{_worst(usual, 'items') / _worst(ours, 'items'):,.1f}",
            *(" / ".join(f"{figure:,.0f}" for figure in _spread(pages)) for pages in (ours, usual)),
            *(f"{_worst(pages, figure):,.9g}" for figure in ("read_units", "requests") for pages in (ours, usual)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _costs(calls: dict[str, dict[str, float]]) -> str:
    lines = ["| call | requests | read units | write units |", "|---|--:|--:|--:|"]
    for name, cost in calls.items():
        lines.append(f"| {name} | {cost['requests']} | {cost['read_units']:g} | {cost['write_units']:g} |")
    return "\n".join(lines)


def _spread(pages: list[dict[str, float]]) -> tuple[float, float, float]:
    items = [page["items"] for page in pages]
    return statistics.median(items), statistics.quantiles(items, n=10, method="inclusive")[-1], max(items)


def _worst(pages: list[dict[str, float]], figure: str) -> float:
    return max(page[figure] for page in pages)


def targets(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Name, what was reached, and whether that is enough."""
    sizes, ours, (few, *_, many) = found["sizes"], found["ours"], found["calls"].values()
    partitions = [combination["partitions"] for combination in found["combinations"]]
    bounds = [count * (found["limit"] + 1) for count in partitions]
    items = [[page["items"] for page in pages] for pages in ours]
    is_bounded = all(read <= bound for reads in items for read, bound in zip(reads, bounds, strict=True))
    full = [place for place, bound in enumerate(bounds) if items[1][place] == bound]
    is_same = all(items[-1][place] == items[1][place] for place in full)
    is_one_each = all([page["requests"] for page in pages] == partitions for pages in ours)
    return [
        (f"items read per page, at most 8 x (limit + 1) = {max(bounds)}", f"{max(map(max, items))}", is_bounded),
        (
            f"... limit + 1 of each partition or all it holds, each filter, {sizes[0]:,} to {sizes[-1]:,} in all",
            "yes" if found["ours_reads_what_partitions_hold"] else "no",
            found["ours_reads_what_partitions_hold"],
        ),
        (
            f"... at {sizes[-1]:,} as many as at {sizes[1]:,}, for the {len(full)} filters then at their limit",
            "yes" if is_same else "no",
            is_same,
        ),
        ("requests per list, one for each partition of its filter", "yes" if is_one_each else "no", is_one_each),
        ("other calls, the same units however many conversations", "yes" if few == many else "no", few == many),
    ]


def _full(found: dict[str, Any]) -> list[int]:
    """For each size, how many combinations read all that they ever may: `limit + 1` items of each partition."""
    bounds = [combination["partitions"] * (found["limit"] + 1) for combination in found["combinations"]]
    return [sum(page["items"] == bound for page, bound in zip(pages, bounds, strict=True)) for pages in found["ours"]]


def plot(found: dict[str, Any], folder: Path) -> list[str]:
    """Items read per page against the conversations of the user, both logarithmic."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    sizes = found["sizes"]
    names = ("median", "one in ten is above", "worst")
    for design, label, colour in (("usual", "index and FilterExpression", "tab:red"), ("ours", "ours", "tab:blue")):
        spreads = [_spread(pages) for pages in found[design]]
        for place, (name, style) in enumerate(zip(names, (":", "--", "-"), strict=True)):
            # Below one there is no place on this scale.
            figures = [max(1, spread[place]) for spread in spreads]
            axes.plot(sizes, figures, style, color=colour, marker="o", markersize=4, label=f"{label}: {name}")
    bound = 8 * (found["limit"] + 1)
    axes.axhline(bound, color="grey", linewidth=0.8)
    axes.annotate(f"8 x (limit + 1) = {bound}", (sizes[0], bound), color="grey", va="bottom", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="conversations of the user", ylabel="items read for one page")
    axes.set_title(f"A page of {found['limit']}, over {len(found['combinations'])} combinations of filters")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(folder / "flat.png", dpi=120)
    return ["flat.png"]
