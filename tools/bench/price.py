"""Price: what a million calls cost, by the list prices of `prices.toml` and the figures of the other parts."""

import tomllib
from pathlib import Path

from tools.bench import report
from tools.bench.runtime import MEMORY_MB
from tools.local.failure import Failure

TITLE = "Price of a million calls"
PARTS = "runtime threads flat price"

# Gigabytes that a call logs: three lines of Lambda itself, the line of this service, and that of API Gateway.
_LOGGED_GB = (0.35 + 0.50 + 0.45) * 1e-6
_SNAPSHOTS = 10
_SECONDS_OF_A_MONTH = 30 * 24 * 60 * 60
# The duration of a call that no part measured, and of a list with eight Queries.
_ESTIMATE_MS, _EIGHT_QUERIES_ESTIMATE_MS = 15.0, 45.0
# The combinations of filters whose price is shown.
_LISTS = {
    "": "list",
    "muted, archived, pinned": "list with three flags",
    "archived, pinned": "list with two flags",
    "group_id": "list of a group",
}

_TEXT = """\
US dollars for a million calls of a user with the most conversations of *Flat cost*, at the list prices of {region} in
{date} (`tools/bench/prices.toml`), without free tiers, storage, data transfer and Cognito. Each includes {gateway} for
API Gateway and {logs} for logs. Durations are {durations}; that of a call on messages is that of the like call on
conversations, times its requests. Write units are MiniStack's, which counts two for each check of another row in a
transaction. A list of all messages reads one more unit for each further conversation in it."""
_MORE = """\
A deletion adds {write} for its purge, and {writes} for each message of the conversation. SnapStart costs {cache} a
month for {snapshots} functions of {memory} MB, as much again for each earlier version that stays published, and
{restores} for a million restores. Without SnapStart, a second of init costs {init} for a million cold starts."""


def measure(run: report.Run) -> report.Section:
    """Computes the prices. Raises `Failure` if the part `flat` was not measured in the same run."""
    if "flat" not in run.figures:
        raise Failure('The price needs capacity units: measure flat in the same run, as in PARTS="flat price".')
    prices = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
    durations: dict[str, float] = run.figures.get("runtime", {})
    gigabytes = MEMORY_MB / 1024
    gb_second, dynamodb = prices["lambda"]["gb_second"], prices["dynamodb"]
    gateway, logs = prices["api_gateway"]["million_requests"], _LOGGED_GB * 1_000_000 * prices["logs"]["gb"]
    lists, calls = run.figures["flat"]
    rows = []
    shown = {name: cost for name, cost in calls.items() if "in a group" not in name}
    for name, cost in ({_LISTS[key]: lists[key] for key in _LISTS} | shown).items():
        milliseconds = durations.get(_endpoint(name), _ESTIMATE_MS)
        if cost.requests == 8:
            milliseconds = run.figures.get("threads", _EIGHT_QUERIES_ESTIMATE_MS)
        elif "message" in name:
            milliseconds *= cost.requests
        compute = prices["lambda"]["million_requests"] + gigabytes * milliseconds * 1000 * gb_second
        units = cost.read_units * dynamodb["million_read_units"] + cost.write_units * dynamodb["million_write_units"]
        cells = [cost.requests, f"{cost.read_units:g}", f"{cost.write_units:g}", f"{milliseconds:.0f}"]
        rows.append([name, *cells, _cents(compute), _cents(units), f"**{_cents(gateway + logs + compute + units)}**"])
    month = _SNAPSHOTS * gigabytes * prices["snap_start"]["cached_gb_second"] * _SECONDS_OF_A_MONTH
    more = _MORE.format(
        write=_cents(dynamodb["million_write_units"]),
        writes=_cents(2 * dynamodb["million_write_units"]),
        snapshots=_SNAPSHOTS,
        memory=MEMORY_MB,
        cache=_cents(month),
        restores=_cents(gigabytes * prices["snap_start"]["restored_gb"] * 1_000_000),
        init=_cents(gigabytes * gb_second * 1_000_000),
    )
    source = f"billed warm calls in Lambda's runtime, {MEMORY_MB} MB" if durations else "estimates"
    values = {"region": prices["region"], "date": prices["date"], "gateway": _cents(gateway), "logs": _cents(logs)}
    header = ["call", "requests", "read units", "write units", "ms", "Lambda", "DynamoDB", "all"]
    return report.Section(f"{_TEXT.format(durations=source, **values)}\n\n{report.table(header, rows)}\n\n{more}", [])


def _endpoint(name: str) -> str:
    """Returns the endpoint of conversations that is most like the call."""
    verb = name.partition(" ")[0]
    like = {"send": "create_conversation", "list": "list_conversations"}
    return like.get(verb, f"{verb if verb in ('create', 'retrieve', 'delete') else 'update'}_conversation")


def _cents(dollars: float) -> str:
    # Rounds half a cent up, regardless of binary fractions.
    return f"{dollars + 1e-9:.2f}"
