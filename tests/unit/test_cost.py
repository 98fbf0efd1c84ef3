"""The calculated cost of a month: the page is current, and a stack with the defaults costs little when idle."""

import copy
import time

import pytest

from tests.handlers import OPERATOR_ENDPOINTS, USER_ENDPOINTS, Context, event, handler, sweep
from tests.tables import tombstones
from tests.template import logical_id, whole_stack
from tests.wire import Wire
from tools.bench import cost


def test_cost_page_is_current() -> None:
    assert cost.PAGE.read_text() == cost.page(), "run `make cost`"


def test_idle_stack_with_the_defaults_costs_at_most_three_dollars() -> None:
    assert sum(cost.idle(whole_stack()).values()) <= 3


def test_internal_delivery_costs_an_idle_stack_at_most_one_dollar() -> None:
    external, internal = (cost.idle(whole_stack(Delivery=delivery)) for delivery in ("external", "internal"))
    assert internal["alarms"] - external["alarms"] == pytest.approx(4 * cost.PRICES["cloudwatch"]["alarm"])
    assert internal["scheduled functions"] > external["scheduled functions"]
    assert sum(internal.values()) - sum(external.values()) <= 1


def test_every_environment_has_its_own_price() -> None:
    default, _, production = (cost.idle(whole_stack(**cost.parameters(name))) for name in cost.ENVIRONMENTS)
    assert (default["SnapStart snapshots"], default["firewall"]) == (0, 0)
    # Of 512 MB each, one of twice as much, and an ACL with four rules.
    calls = len(USER_ENDPOINTS) - len(OPERATOR_ENDPOINTS)
    assert production["SnapStart snapshots"] == pytest.approx(1.95 * (calls + 1), abs=0.01)
    assert production["firewall"] == 9


def test_mix_of_calls_is_complete() -> None:
    assert sum(cost.PRICES["mix"].values()) == 100


@pytest.mark.usefixtures("tables")
def test_idle_sweep_reads_what_its_price_assumes(wire: Wire) -> None:
    assert tombstones() == []
    wire.reset()
    sweep()
    # Each schedule sweeps a quarter of the partitions, and looks for the oldest tombstone in all of them.
    in_quarter, in_all = 16 / 4, 16
    assert wire.requests == ["Query"] * 32
    assert cost.PRICES["idle"][logical_id("sweep_purges")]["reads"] == in_quarter + in_all


@pytest.mark.usefixtures("tables")
def test_idle_sweep_of_deliveries_reads_what_its_price_assumes(wire: Wire) -> None:
    wire.reset()
    handler("sweep_deliveries")({}, Context())
    assert wire.requests == ["Query"] * cost.PRICES["idle"]["SweepDeliveries"]["reads"]


@pytest.mark.usefixtures("tables")
def test_change_requests_what_its_price_assumes(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.publish_changes.app.publisher._bus._bus_name", "")
    record, *_ = event("publish_changes")["Records"]
    # Of an old record, which may be a repetition, the feed reads more.
    record["dynamodb"]["ApproximateCreationDateTime"] = int(time.time())
    wire.reset()
    handler("publish_changes")({"Records": [record]}, Context())
    of_webhooks, of_feed = ["Query"], ["Query", "PutItem", "UpdateItem"]
    assert wire.requests == of_webhooks + of_feed
    assert cost.PRICES["change"]["webhooks"]["requests"] == len(of_webhooks)
    assert cost.PRICES["change"]["feed"] == {"requests": len(of_feed), "read_units": 1, "write_units": 2}
    # Of one write unit.
    row = wire.bodies[wire.requests.index("PutItem")]["Item"]
    assert sum(len(name) + len(str(*attribute.values())) for name, attribute in row.items()) < 1024


def test_parameters_save_what_changes_cost() -> None:
    both, only_feed, only_events, neither = (
        cost.change(whole_stack(Changes=changes, Events=events))
        for changes, events in (("true", "true"), ("true", "false"), ("false", "true"), ("false", "false"))
    )
    assert both - only_feed == pytest.approx(cost.PRICES["events"]["million_events"], abs=0.05)
    assert both - only_events == pytest.approx(only_feed - neither)
    assert neither < 1


def test_stack_without_webhooks_does_not_poll_their_queue() -> None:
    stack = copy.deepcopy(whole_stack())
    mapping = stack["Resources"]["DeliverWebhookQueue"]["Properties"]
    assert mapping["Enabled"] is False
    without = cost.idle(stack)["polling of queues"]
    mapping["Enabled"] = True
    assert cost.idle(stack)["polling of queues"] > without


@pytest.mark.parametrize("mode", ["Active", "PassThrough"])
def test_only_active_traces_of_sweeps_cost_money(mode: str) -> None:
    stack = copy.deepcopy(whole_stack())
    before = cost.idle(stack)["scheduled functions"]
    for name in ("SweepInbox", "SweepPurges"):
        stack["Resources"][name]["Properties"]["TracingConfig"]["Mode"] = mode
    assert cost.idle(stack)["scheduled functions"] - before == pytest.approx(
        {"Active": 0.39, "PassThrough": 0}[mode], abs=0.01
    )
