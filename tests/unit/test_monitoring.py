"""Alarms and dashboard use metrics that exist, and every alarm notifies and has a page."""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pytest
from coherent.metrics import Meter
from coherent.storage import rows

from tests import tables as tables_in_moto
from tests.handlers import (
    OPERATOR_ENDPOINTS,
    USER_ENDPOINTS,
    Context,
    call,
    create,
    handler,
    list_conversations,
    sweep,
    update,
)
from tests.template import FUNCTIONS, OTHERS, ROOT, named, of_type, root_stack, the_only, transform
from tests.wire import Wire, error_response

OPERATIONS = (ROOT / "docs/operations/index.md").read_text()
# The alarms for the person on call.
PAGING = {
    "LateChanges",
    "LateDeliveries",
    "LateEvents",
    "LateInbound",
    "LostDeadLetters",
    "ServerErrors",
    "SlowRequests",
}
ALARMS = sorted(of_type("others", "CloudWatch::Alarm"))
# With Delivery=internal.
DELIVERY_ALARMS = {"DeliveryErrors", "LateDeliveries", "StoppedDeliveries", "SweepDeliveriesErrors"}
# Namespace, name, and the names of the dimensions.
Kind = tuple[str, str, frozenset[str]]
# AWS's metrics that alarms or the dashboard use, with their dimensions, from AWS's documentation.
AWS_METRICS: set[Kind] = {
    *(("AWS/ApiGateway", name, frozenset({"ApiName", "Stage"})) for name in ("4XXError", "5XXError", "Latency")),
    *(
        ("AWS/Lambda", name, frozenset({"FunctionName"}))
        for name in ("AsyncEventAge", "DestinationDeliveryFailures", "Errors", "Invocations", "IteratorAge")
    ),
    # Without dimensions: of all functions in the account and region.
    *(("AWS/Lambda", name, frozenset[str]()) for name in ("ConcurrentExecutions", "Throttles")),
    *(
        ("AWS/SQS", f"Approximate{name}", frozenset({"QueueName"}))
        for name in ("AgeOfOldestMessage", "NumberOfMessagesVisible")
    ),
}
DIMENSION_VALUES = {
    # The API is named after the stack.
    "ApiName": {"AWS::StackName"},
    "endpoint": {*USER_ENDPOINTS, "sweep_deliveries"},
    "FunctionName": set(FUNCTIONS),
    "QueueName": {
        f"{name}.QueueName" for name in ("DeadLetters", "InboundDeadLetters", "InboundQueue", "WebhookQueue")
    },
    "service": {"AWS::StackName"},
    "Stage": {"v1"},
}
# Lambda counts every sweep, so missing data means that sweeps have stopped.
ALARMS_ON_MISSING_DATA = {"StoppedDeliveries", "StoppedSweeps"}


class Metric(NamedTuple):
    """A CloudWatch metric."""

    namespace: str
    name: str
    dimensions: dict[str, str]

    @property
    def kind(self) -> Kind:
        """The metric without the values of its dimensions."""
        return self.namespace, self.name, frozenset(self.dimensions)


def metric_of(alarm: Any) -> Metric:
    dimensions = {dimension["Name"]: named(dimension["Value"]) for dimension in alarm.get("Dimensions", [])}
    return Metric(alarm["Namespace"], named(alarm["MetricName"]), dimensions)


def widgets(settings: str = "others") -> list[dict[str, Any]]:
    body = named(the_only(settings, "CloudWatch::Dashboard")["DashboardBody"])
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def metrics_of(widget: dict[str, Any]) -> Iterator[Metric]:
    """Yields the metrics of a widget. "." repeats a field of the metric before, "..." all fields that are left out."""
    fields: list[str] = []
    for given in widget["properties"].get("metrics", []):
        texts = [text for text in given if isinstance(text, str)]
        if texts[0] == "...":
            texts = [*fields[: len(fields) - len(texts) + 1], *texts[1:]]
        fields = [fields[place] if text == "." else text for place, text in enumerate(texts)]
        namespace, name, *pairs = fields
        yield Metric(namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True)))


def count(metrics: Iterable[Metric]) -> int:
    """Returns the number of different metrics."""
    return len({(metric.namespace, metric.name, *metric.dimensions.items()) for metric in metrics})


def exists(metric: Metric, emitted: Iterable[Kind]) -> bool:
    """Returns whether CloudWatch gets *metric* from AWS or from our logs."""
    is_known = metric.kind in AWS_METRICS or metric.kind in emitted
    return is_known and all(value in DIMENSION_VALUES[dimension] for dimension, value in metric.dimensions.items())


@pytest.fixture
def emitted(tables: None, wire: Wire, no_backoff: None, capsys: pytest.CaptureFixture[str]) -> dict[Kind, str | None]:
    """The units of all metrics that CloudWatch extracts from logs of functions and from access logs."""
    del tables, no_backoff
    # moto reports no units for the transaction that creates a conversation, but for this update.
    update(create(), is_muted=True)
    list_conversations()
    # An idle sweep has no metrics.
    call("delete_conversation", id=create()["id"])
    sweep()
    order = {"user_conversation": "deliver#00", "id": "0#1#1", "kind": "deleted", "sender": "kevin", "recipient": "a#b"}
    tables_in_moto.put_rows({"messages": [rows.values(order | {"ordered_at": 1})]})
    handler("sweep_deliveries")({}, Context())
    call("list_conversations", query={"limit": ["0"]})
    wire.fault = lambda request: error_response(request, 400, "ThrottlingException")
    call("list_conversations")
    with Meter("deliver_webhook").measure() as invocation:
        invocation.webhook_failures = 1
    units: dict[Kind, str | None] = {}
    for line in capsys.readouterr().out.splitlines():
        for directive in json.loads(line)["_aws"]["CloudWatchMetrics"]:
            for metric, dimensions in itertools.product(directive["Metrics"], directive["Dimensions"]):
                units[directive["Namespace"], metric["Name"], frozenset(dimensions)] = metric["Unit"]
    (counted,) = the_only("defaults", "Logs::MetricFilter")["MetricTransformations"]
    units[counted["MetricNamespace"], named(counted["MetricName"]), frozenset()] = None
    return units


@pytest.mark.parametrize("alarm", ALARMS)
def test_alarm_pages_or_informs_and_names_its_page(alarm: str) -> None:
    given = of_type("others", "CloudWatch::Alarm")[alarm]
    topic = "Pages" if alarm in PAGING else "Notices"
    assert named(given["AlarmActions"]) == named(given["OKActions"]) == [topic]
    assert {named(name) for name in given.get("InsufficientDataActions", [])} <= {topic}
    (row,) = re.findall(rf"^\| \[{alarm}\]\(.*\|$", OPERATIONS, re.MULTILINE)
    assert row.split("|")[3].strip() == ("pages" if alarm in PAGING else "informs")
    page = f"docs/operations/{re.sub(r'(?<!^)(?=[A-Z])', '-', alarm).lower()}.md"
    assert given["AlarmDescription"].endswith(f". See {page}")
    assert (ROOT / page).exists()


@pytest.mark.parametrize("alarm", ALARMS)
def test_missing_data_alarms_only_for_regular_metrics(alarm: str) -> None:
    given = of_type("others", "CloudWatch::Alarm")[alarm]
    alarms = alarm in ALARMS_ON_MISSING_DATA
    assert given["TreatMissingData"] == ("missing" if alarms else "notBreaching")
    assert ("InsufficientDataActions" in given) is alarms


def test_alarms_use_existing_metrics(emitted: dict[Kind, str | None]) -> None:
    for name, alarm in of_type("others", "CloudWatch::Alarm").items():
        metric = metric_of(alarm)
        assert exists(metric, emitted), name
        # Without a unit an alarm accepts any.
        assert alarm.get("Unit") in {None, emitted.get(metric.kind)}, name
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"], name


def test_api_metrics_are_named_after_the_stack() -> None:
    api = the_only("defaults", "ApiGateway::RestApi")
    assert named(api["Body"]["info"]["title"]) == "AWS::StackName"
    assert "Name" not in api
    assert of_type("defaults", "ApiGateway::Stage")["Apiv1Stage"]["StageName"] == "v1"


def test_dashboard_shows_existing_metrics_of_its_region(emitted: dict[Kind, str | None]) -> None:
    assert not [metric for widget in widgets() for metric in metrics_of(widget) if not exists(metric, emitted)]
    assert {widget["properties"]["region"] for widget in widgets() if widget["type"] == "metric"} == {"AWS::Region"}


@pytest.mark.parametrize(
    ("title", "statistic"), [("Requests", "SampleCount"), ("Latency by endpoint, p99 (ms)", "p99")]
)
def test_dashboard_shows_every_endpoint(title: str, statistic: str) -> None:
    (widget,) = [widget for widget in widgets() if widget["properties"]["title"] == title]
    metrics = list(metrics_of(widget))
    # Each request has one latency, so their number needs no second metric.
    assert {metric.name for metric in metrics} == {"Latency"}
    assert widget["properties"]["stat"] == statistic
    shown = {metric.dimensions["endpoint"] for metric in metrics}
    assert shown == set(USER_ENDPOINTS) - set(OPERATOR_ENDPOINTS)


def test_dashboard_is_free_of_charge() -> None:
    # AWS's first three dashboards are, with up to 50 metrics each. Those of the alarms may count too.
    shown = [metric for widget in widgets() for metric in metrics_of(widget)]
    assert count([*shown, *map(metric_of, of_type("others", "CloudWatch::Alarm").values())]) <= 50


@pytest.mark.parametrize("settings", ["defaults", "others"])
def test_dashboard_shows_every_alarm(settings: str) -> None:
    shown = [alarm for widget in widgets(settings) for alarm in widget["properties"].get("alarms", [])]
    assert sorted(shown) == [
        f"arn:AWS::Partition:cloudwatch:AWS::Region:AWS::AccountId:alarm:{alarm}"
        for alarm in sorted(of_type(settings, "CloudWatch::Alarm"))
    ]


def test_alarms_of_the_delivery_exist_only_with_internal_delivery() -> None:
    assert set(ALARMS) - of_type("defaults", "CloudWatch::Alarm").keys() == DELIVERY_ALARMS


def test_alarm_email_gets_pages_and_notices() -> None:
    assert not of_type("defaults", "SNS::Subscription")
    subscriptions = named(list(of_type("others", "SNS::Subscription").values()))
    assert subscriptions == [
        {"TopicArn": topic, "Protocol": "email", "Endpoint": OTHERS["AlarmEmail"]} for topic in ("Pages", "Notices")
    ]
    assert named(root_stack()["Outputs"]["PagesArn"]["Value"]) == "Monitoring.Outputs.PagesArn"
    assert named(root_stack()["Outputs"]["NoticesArn"]["Value"]) == "Monitoring.Outputs.NoticesArn"


def test_production_requires_an_alarm_email() -> None:
    rule = transform()["Rules"]["ProductionHasAlarmEmail"]
    has_canary = {"Fn::Equals": [{"Ref": "Canary"}, "true"]}
    keeps_data = {"Fn::Not": [{"Fn::Equals": [{"Ref": "ProtectData"}, "false"]}]}
    assert rule["RuleCondition"] == {"Fn::And": [has_canary, keeps_data]}
    (assertion,) = rule["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}]}
