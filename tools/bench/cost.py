"""What a stack costs in a month, idle and with traffic: `make cost` writes docs/results/cost.md."""

import re
import tomllib
from pathlib import Path
from typing import Any

from tests.template import ROOT, named, whole_stack

PAGE = ROOT / "docs/results/cost.md"
ENVIRONMENTS = ("default", "staging", "production")
RATES = (1, 10, 100)
PRICES: dict[str, Any] = tomllib.loads(Path(__file__).with_name("prices.toml").read_text())

_MONTH_SECONDS = 30 * 24 * 60 * 60
# Lines of Lambda and of the function.
_LOGGED_GB = (0.35 + 0.50) * 1e-6
# Requests, Latency, InvalidRequest, and ReadUnits or WriteUnits or both.
_METRICS_OF_FUNCTION = 4
# The same of the whole service, with both kinds of units, and the count of throttled requests.
_METRICS_OF_SERVICE = 6
# The hook that exercises releases, the delivery between users with Delivery=external, and the webhooks, which are the
# operator's.
_FUNCTIONS_WITHOUT_CALLS = {
    *("DeliverMessages", "ExerciseRelease", "SweepDeliveries"),
    *("CreateWebhook", "ListWebhooks", "RetrieveWebhook", "UpdateWebhook", "DeleteWebhook"),
    *("CreateRedelivery", "DeliverWebhook"),
}
_TEXT = """\
# Cost of a month

US dollars for a month of 30 days, from the transformed template, the settings of `samconfig.toml` and the list prices
of {region} in {date} (`tools/bench/prices.toml`). **State: calculated; no bill has confirmed it.** Without free tiers
(but for the dashboard, one of an account's three free ones), cold starts and restores of users' calls, storage, data
transfer, sign-in mail and Cognito.

<!-- Written by `make cost`. Change tools/bench/cost.py or prices.toml, not this file. -->

{table}

- The calls: {mix}.
- Each call has its price of [benchmarks](benchmarks.md#price-of-a-million-calls).
- X-Ray records the first request of each second and 5 % of the others: at one request a second, all.
- A function that gets requests writes {metrics} custom metrics, at ${metric:.2f} each.
- There are no webhooks. A call that writes causes one change, sending or deleting a message two. A million changes,
  each alone in its batch, cost ${changes[0]:.2f}: with `Changes=false` ${changes[1]:.2f}, with `Events=false`
  ${changes[2]:.2f}, with both ${changes[3]:.2f}."""


def parameters(environment: str) -> dict[str, str]:
    """Returns the parameters of an environment of samconfig.toml."""
    settings = tomllib.loads((ROOT / "samconfig.toml").read_text())[environment]["deploy"]["parameters"]
    return dict(override.split("=", 1) for override in settings.get("parameter_overrides", []))


def idle(stack: dict[str, Any]) -> dict[str, float]:
    """Returns the cost of each item of a *stack* without traffic."""
    resources = stack["Resources"]

    def of_type(kind: str) -> dict[str, Any]:
        return {name: given["Properties"] for name, given in resources.items() if given["Type"] == f"AWS::{kind}"}

    functions = of_type("Lambda::Function")
    snapshots = [f["MemorySize"] / 1024 for f in functions.values() if f["SnapStart"]["ApplyOn"] == "PublishedVersions"]
    rules = [len(acl["Rules"]) for acl in of_type("WAFv2::WebACL").values()]
    # Mappings of DynamoDB streams poll free of charge, and disabled ones do not poll.
    mappings = [m for m in of_type("Lambda::EventSourceMapping").values() if m.get("Enabled", True)]
    queues = [m for m in mappings if "StartingPosition" not in m]
    scheduled = 0.0
    for rule in of_type("Events::Rule").values():
        schedule = re.fullmatch(r"rate\((\d+) minutes?\)", rule.get("ScheduleExpression", ""))
        if schedule and rule.get("State") != "DISABLED":
            (target,) = rule["Targets"]
            function = named(target["Arn"]).removesuffix("Aliaslive")
            scheduled += (
                _MONTH_SECONDS / 60 / int(schedule[1]) * _invocation(functions[function], **PRICES["idle"][function])
            )
    return {
        "SnapStart snapshots": sum(snapshots) * PRICES["snap_start"]["cached_gb_second"] * _MONTH_SECONDS,
        "alarms": len(of_type("CloudWatch::Alarm")) * PRICES["cloudwatch"]["alarm"],
        "scheduled functions": scheduled,
        "polling of queues": len(queues)
        * PRICES["sqs"]["million_idle_polls_a_month"]
        * PRICES["sqs"]["million_requests"],
        "firewall": sum(PRICES["waf"]["web_acl"] + count * PRICES["waf"]["rule"] for count in rules),
    }


def _invocation(function: dict[str, Any], milliseconds: float, reads: int) -> float:
    """Returns the cost of an idle invocation; an empty consistent Query reads one unit."""
    million = PRICES["lambda"]["million_requests"] + reads * PRICES["dynamodb"]["million_read_units"]
    if function["TracingConfig"]["Mode"] == "Active":
        million += PRICES["xray"]["million_traces"]
    seconds = function["MemorySize"] / 1024 * milliseconds / 1000 * PRICES["lambda"]["gb_second"]
    return float(million / 1e6 + seconds + _LOGGED_GB * PRICES["logs"]["gb"])


def change(stack: dict[str, Any]) -> float:
    """Returns the cost of a million changes, each alone in its batch, in a stack without webhooks."""
    function = stack["Resources"]["PublishChanges"]["Properties"]
    environment = function["Environment"]["Variables"]
    parts = [PRICES["change"]["webhooks"]]
    if environment["CHANGES_TABLE_NAME"] != "":
        parts.append(PRICES["change"]["feed"])
    million = PRICES["lambda"]["million_requests"] + _LOGGED_GB * 1e6 * PRICES["logs"]["gb"]
    if environment["EVENT_BUS_NAME"] != "":
        parts.append(PRICES["change"]["bus"])
        million += PRICES["events"]["million_events"]
    requests, reads, writes = (
        sum(part.get(figure, 0) for part in parts) for figure in ("requests", "read_units", "write_units")
    )
    million += reads * PRICES["dynamodb"]["million_read_units"] + writes * PRICES["dynamodb"]["million_write_units"]
    seconds = function["MemorySize"] / 1024 * requests * PRICES["change"]["request_milliseconds"] * 1000
    return float(million + seconds * PRICES["lambda"]["gb_second"])


def traffic(stack: dict[str, Any], rate: int) -> float:
    """Returns what *rate* requests a second cost in addition."""
    kinds = [resource["Type"] for name, resource in stack["Resources"].items() if name not in _FUNCTIONS_WITHOUT_CALLS]
    million = sum(share / 100 * _prices_of_calls()[call] for call, share in PRICES["mix"].items())
    million += change(stack) * sum(PRICES["mix"][call] / 100 * count for call, count in PRICES["changes"].items())
    million += PRICES["waf"]["million_requests"] * kinds.count("AWS::WAFv2::WebACL")
    traces = 1 + 0.05 * (rate - 1)
    metrics = kinds.count("AWS::Lambda::Function") * _METRICS_OF_FUNCTION + _METRICS_OF_SERVICE
    requests = rate * million + traces * PRICES["xray"]["million_traces"]
    return float(requests * _MONTH_SECONDS / 1e6 + metrics * PRICES["cloudwatch"]["metric"])


def _prices_of_calls() -> dict[str, float]:
    """Returns the price of a million of each call that `make bench` measured."""
    section = (ROOT / "docs/results/benchmarks.md").read_text().partition("## Price of a million calls")[2]
    rows = re.findall(r"^\| ([^|]+) \|.*\*\*([\d.]+)\*\* \|$", section, re.MULTILINE)
    return {name: float(price) for name, price in rows}


def page() -> str:
    """Returns the page as Markdown."""
    stacks = [whole_stack(**parameters(environment)) for environment in ENVIRONMENTS]
    items = [idle(stack) for stack in stacks]
    rows = [[name, *(item[name] for item in items)] for name in items[0]]
    totals = [sum(item.values()) for item in items]
    rows.append(["**idle**", *totals])
    for rate in RATES:
        of_traffic = [total + traffic(stack, rate) for total, stack in zip(totals, stacks, strict=True)]
        rows.append([f"**{rate} request{'s' if rate > 1 else ''} a second**", *of_traffic])
    lines = [["", *ENVIRONMENTS], ["---", *["--:"] * len(ENVIRONMENTS)]]
    lines += [[f"{name}", *(f"{price:,.2f}" for price in prices)] for name, *prices in rows]
    mix = ", ".join(f"{call} {share} %" for call, share in PRICES["mix"].items())
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    values = {"region": PRICES["region"], "date": PRICES["date"], "metric": PRICES["cloudwatch"]["metric"]}
    off = {"Changes": "false"}, {"Events": "false"}, {"Changes": "false", "Events": "false"}
    values["changes"] = [change(whole_stack(**parameters)) for parameters in ({}, *off)]
    return _TEXT.format(**values, table=table, mix=mix, metrics=_METRICS_OF_FUNCTION) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
