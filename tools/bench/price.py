"""Price: what a million calls cost, by the list prices of `prices.toml` and the figures of the other parts."""

import tomllib
from pathlib import Path

from tools.bench import report
from tools.bench.flat import Cost
from tools.bench.runtime import MEMORY_MB
from tools.bench.samples import ENDPOINTS
from tools.bench.threads import INBOX_MB

TITLE = "Price of a million calls"
PARTS = "runtime threads flat delivery price"

# Gigabytes that a call logs: three lines of Lambda itself, the line of this service, and that of API Gateway.
_LOGGED_GB_OF_EVENT = (0.35 + 0.50) * 1e-6
_LOGGED_GB = _LOGGED_GB_OF_EVENT + 0.45 * 1e-6
_SECONDS_OF_A_MONTH = 30 * 24 * 60 * 60
# The combinations of filters whose price is shown.
_LISTS = {"": "list", "muted, archived, pinned": "list with three flags", "group_id": "list of a group"}

_TEXT = """\
US dollars for a million calls of a user with the most conversations of *Flat cost*, at the list prices of {region} in
{date} (`tools/bench/prices.toml`), without free tiers, storage, data transfer and Cognito. *All* includes {gateway:.2f}
for API Gateway and {logs:.2f} for logs. Durations are those billed for warm calls in Lambda's runtime; a call on
messages takes that of the like call on conversations, times its requests. Write units are MiniStack's, which counts two
for each check of another row in a transaction. A list of all messages reads one more unit for each further conversation
in it."""
_DELIVERY = """\
US dollars for a million messages and changes that `Delivery=internal` delivers: the call and its delivery. *All*
includes {gateway:.2f} for API Gateway and {delivery_logs:.2f} for logs. Each has its own invocation of
`deliver_messages`; at a higher rate, up to 100 share one. Each request takes as long as that of a call on
conversations."""
_MORE = """\
The deletion of a conversation adds {write:.3f} for its purge, and {writes:.2f} for each of its messages. SnapStart
costs {cache:.2f} a month for each published version of a function, and {restores:.2f} for a million restores. Without
SnapStart, a second of init costs {init:.2f} for a million cold starts."""


def measure(run: report.Run) -> report.Section:
    """Computes the prices. Raises `Unmeasurable` if another part was not measured in the same run."""
    if missing := {"runtime", "threads", "flat", "delivery"} - run.figures.keys():
        raise report.Unmeasurable(f"prices need the figures of the parts {', '.join(sorted(missing))}.")
    prices = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
    gigabytes = MEMORY_MB / 1024
    gb_second, dynamodb, snap_start = prices["lambda"]["gb_second"], prices["dynamodb"], prices["snap_start"]
    gateway, logs = prices["api_gateway"]["million_requests"], _LOGGED_GB * 1_000_000 * prices["logs"]["gb"]

    def of_compute(size: float, milliseconds: float) -> float:
        return float(prices["lambda"]["million_requests"] + size * milliseconds * 1000 * gb_second)

    def of_units(cost: Cost) -> float:
        read, write = dynamodb["million_read_units"], dynamodb["million_write_units"]
        return float(cost.read_units * read + cost.write_units * write)

    lists, calls = run.figures["flat"]
    rows = []
    inbox_gigabytes = INBOX_MB / 1024
    shown = {name: cost for name, cost in calls.items() if "in a group" not in name}
    for name, cost in ({_LISTS[key]: lists[key] for key in _LISTS} | shown).items():
        milliseconds = run.figures["threads"].get(cost.requests) or run.figures["runtime"][_endpoint(name)]
        if "message" in name:
            milliseconds *= cost.requests
        size = inbox_gigabytes if name.startswith("list the inbox") else gigabytes
        compute, units = of_compute(size, milliseconds), of_units(cost)
        cells = [cost.requests, f"{cost.read_units:g}", f"{cost.write_units:g}", f"{milliseconds:.0f}"]
        rows.append([name, *cells, f"{compute:.2f}", f"{units:.3f}", f"**{gateway + logs + compute + units:.2f}**"])
    delivered = []
    event_logs = _LOGGED_GB_OF_EVENT * 1_000_000 * prices["logs"]["gb"]
    for name, cost in run.figures["delivery"].items():
        milliseconds = [run.figures["runtime"]["update_conversation"] * each.requests for each in cost]
        compute = sum(of_compute(gigabytes, each) for each in milliseconds)
        units = sum(map(of_units, cost))
        figures = [sum(getattr(each, figure) for each in cost) for figure in ("requests", "read_units", "write_units")]
        cells = [*(f"{figure:g}" for figure in figures), f"{sum(milliseconds):.0f}"]
        total = gateway + logs + event_logs + compute + units
        delivered.append([name, *cells, f"{compute:.2f}", f"{units:.3f}", f"**{total:.2f}**"])
    values = {
        "delivery_logs": logs + event_logs,
        "region": prices["region"],
        "date": prices["date"],
        "gateway": gateway,
        "logs": logs,
        "write": dynamodb["million_write_units"],
        "writes": 2 * dynamodb["million_write_units"],
        "cache": gigabytes * snap_start["cached_gb_second"] * _SECONDS_OF_A_MONTH,
        "restores": gigabytes * snap_start["restored_gb"] * 1_000_000,
        "init": gigabytes * gb_second * 1_000_000,
    }
    header = ["call", "requests", "read units", "write units", "ms", "Lambda", "DynamoDB", "all"]
    texts = [text.format(**values) for text in (_TEXT, _DELIVERY, _MORE)]
    text = [texts[0], report.table(header, rows), texts[1], report.table(header, delivered), texts[2]]
    return "\n\n".join(text), []


def _endpoint(call: str) -> str:
    """Returns the endpoint of conversations that is most like the call."""
    verb = call.partition(" ")[0]
    endpoint = next((name for name in ENDPOINTS if name.startswith(verb)), "update_conversation")
    return "create_conversation" if verb == "send" else endpoint
