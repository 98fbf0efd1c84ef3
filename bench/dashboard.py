"""The command behind `make dashboard`: the template's dashboard, drawn of what the functions say of a real load.

It runs the stack, gives it users for some minutes, and reads the lines that CloudWatch would make its metrics of. Each
metric is aggregated as its widget asks, but over shorter periods, of which a few minutes have more. What only AWS
measures is left out, and says so.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import requests
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from local import serving, stack, users
from local.environment import ROOT, aws_session, emulator_url
from local.failure import Failure

_USERS = ("kevin", "harry", "marv", "kate")
# Of a user, between an answer and the next request.
_PAUSE_SECONDS = (0.05, 0.35)
_EXPECTED = {200, 201, 204, 400, 404}
# What each user does, in so many of a hundred requests.
_SHARES = {
    "list_conversations": 24,
    "list_messages": 16,
    "create_message": 16,
    "retrieve_conversation": 12,
    "update_conversation": 8,
    "create_conversation": 7,
    "retrieve_message": 5,
    "update_message": 4,
    "delete_message": 2,
    "delete_conversation": 2,
    "mistake": 4,
}
_OF_MESSAGES = {"retrieve_message", "update_message", "delete_message"}
# Which nobody calls, so that nobody knows how often.
_UNASKED = {"purge_messages", "sweep_purges"}
_MISTAKES: list[tuple[str, str, str, dict[str, object] | None]] = [
    ("list_conversations", "GET", "/conversations?limit=0", None),
    ("create_conversation", "POST", "/conversations", {}),
    ("retrieve_conversation", "GET", "/conversations/0000000000000000", None),
    ("create_message", "POST", "/messages", {"conversation_id": "0000000000000000", "message": "Anybody home?"}),
]
_SECONDS_PER_EVENT, _SECONDS_PER_SWEEP, _SECONDS_PER_LOOK = 3, 60, 2
# When somebody writes to a conversation that does not exist, in parts of the whole time.
_WRONG_EVENTS = (0.4, 0.7)
_SETTLE_SECONDS = 60
# What the emulator gives at once, without a token for the rest.
_MOST_LINES = 10_000

# In inches; a dashboard has 24 columns.
_WIDTH, _ROW, _HEAD, _GAP = 16.0, 0.52, 0.75, 0.08
_DPI = 100
_GRID, _EDGE, _FAINT = "#e5e8eb", "#c3cad2", "#6b7785"
_AWS_ONLY = "measured by AWS only"


class Key(NamedTuple):
    """What CloudWatch tells one metric from another by."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


class Line(NamedTuple):
    """A metric of a widget, how to aggregate it, and what to call it."""

    key: Key
    stat: str
    label: str


# Of each metric, when (Unix seconds) and how much.
Data = Mapping[Key, Sequence[tuple[float, float]]]


def main() -> int:
    """Runs the command; the exit status is 1 after a `Failure`, whose sentence goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300, help="for how long users are at work")
    parser.add_argument("--period", type=int, default=10, help="seconds that are aggregated to one point")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/operations", help="where dashboard.png goes")
    options = parser.parse_args()
    if not 0 < options.period <= options.seconds:
        parser.error("--period: must be at least one second, and no longer than --seconds")
    try:
        with tempfile.TemporaryDirectory() as home, serving.own_stack(Path(home)) as port:
            print(f"Users are at work for {options.seconds} s ...", flush=True)
            load = Load(port, options.period)
            load.run(options.seconds)
            data = load.measured()
            is_as_told = load.is_as_told()
            widgets, alarms = _dashboard(port)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "dashboard.png"
    Drawing(data, options.period, load.started, load.ended).save(widgets, alarms, file)
    print(f"{file} has the dashboard.")
    return 0 if is_as_told else 1


class Load:
    """What users, and others who write to them, do to a stack, and what it says of that."""

    def __init__(self, port: int, period: int) -> None:
        """Of the stack on *port*. It begins and ends with a *period*."""
        self.started = self.ended = 0.0
        self._port, self._period = port, period
        self._outputs = stack.outputs(port)
        # Of each request, by its id: the endpoint, and the status of the answer, which an event has none of.
        self._sent: dict[str, tuple[str, int | None]] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._failures: list[Exception] = []
        self._depths: list[tuple[float, float]] = []
        self._lines: list[dict[str, Any]] = []

    def run(self, seconds: int) -> None:
        """Has users at work for so many *seconds*, the second from a tenth of them on, and so on."""
        api_url = stack.api_url(self._port)
        tokens = {name: users.token(self._port, name) for name in _USERS}
        people = [_User(api_url, token, self.remember, number) for number, token in enumerate(tokens.values())]
        time.sleep(self._period - time.time() % self._period)
        self.started = time.time()
        # For others, who write to kevin. He does not know of it, and so never deletes it.
        received = {
            "user_id": users.claims(tokens["kevin"])["sub"],
            "conversation_id": people[0].create_conversation(),
            "contact_id": "harry",
        }
        threads = [
            threading.Thread(target=self._work, args=(user, number * seconds / 10), daemon=True)
            for number, user in enumerate(people)
        ]
        for thread in threads:
            thread.start()
        try:
            self._stand_by(seconds, received)
        finally:
            self._done.set()
            for thread in threads:
                thread.join()
        self.ended = time.time()
        if self._failures:
            raise Failure(f"A user met with {self._failures[0]!r}.")

    def remember(self, request_id: str, endpoint: str, status: int | None = None) -> None:
        """That *endpoint* was called, and what it answered."""
        with self._lock:
            self._sent[request_id] = endpoint, status

    def _work(self, user: "_User", wait: float) -> None:
        self._done.wait(wait)
        try:
            while not self._done.is_set():
                user.act()
                self._done.wait(user.random.uniform(*_PAUSE_SECONDS))
        except Exception as error:  # noqa: BLE001 - told by run
            self._failures.append(error)
            self._done.set()
        finally:
            # Else the emulator waits a while for what they may still want.
            user.close()

    def _stand_by(self, seconds: int, received: dict[str, object]) -> None:
        """Meanwhile has others write, sweeps called once a minute, and the queue of dead letters looked at."""
        wrong = received | {"conversation_id": "0000000000000000"}
        tasks: list[tuple[float, Callable[[], None]]] = [
            *((second, lambda: self._deliver(received)) for second in _each(_SECONDS_PER_EVENT, seconds)),
            *((part * seconds, lambda: self._deliver(wrong)) for part in _WRONG_EVENTS),
            *((second, self._sweep) for second in _each(_SECONDS_PER_SWEEP, seconds)),
            *((second, self._look) for second in _each(_SECONDS_PER_LOOK, seconds)),
            (seconds, lambda: None),
        ]
        for second, task in sorted(tasks, key=lambda timed: timed[0]):
            if self._done.wait(max(0, self.started + second - time.time())):
                return
            task()

    def _deliver(self, detail: dict[str, object]) -> None:
        entry = {
            "Source": "com.example.delivery",
            "DetailType": "message.received",
            "Detail": json.dumps({**detail, "message": "Keep the change."}),
            "EventBusName": self._outputs["EventBusName"],
        }
        (put,) = self._client("events").put_events(Entries=[entry])["Entries"]
        self.remember(put["EventId"], "receive_message")

    def _sweep(self) -> None:
        self._invoke("sweep_purges", "Event")

    def _invoke(self, endpoint: str, kind: str) -> None:
        logical_id = endpoint.title().replace("_", "")
        found = self._client("cloudformation").describe_stack_resource(
            StackName=stack.NAME, LogicalResourceId=logical_id
        )["StackResourceDetail"]
        function = f"{found['PhysicalResourceId']}:live"
        self._client("lambda").invoke(FunctionName=function, InvocationType=kind, Payload=b"{}")

    def _look(self) -> None:
        found = self._client("sqs").get_queue_attributes(
            QueueUrl=self._outputs["DeadLettersUrl"], AttributeNames=["ApproximateNumberOfMessages"]
        )
        self._depths.append((time.time(), float(found["Attributes"]["ApproximateNumberOfMessages"])))

    def _client(self, service: str) -> Any:  # noqa: ANN401 - of any service
        session: Any = aws_session()
        return session.client(service, endpoint_url=emulator_url(self._port))

    def measured(self) -> Data:
        """What the functions told by the embedded metric format, and how deep the queue of dead letters was."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (missing := self._read()) and time.monotonic() < deadline:
            # Events are received a moment after they were sent. And where an environment is slow to write its last
            # line, the emulator tells it only with the next call: so each gets one more, which counts for nothing.
            with ThreadPoolExecutor(len(_USERS)) as callers:
                for endpoint in sorted({self._sent[id][0] for id in missing}) * len(_USERS):
                    callers.submit(self._invoke, endpoint, "RequestResponse")
            time.sleep(1)
        data: defaultdict[Key, list[tuple[float, float]]] = defaultdict(list)
        for line in self._lines:
            at = line["_aws"]["Timestamp"] / 1000
            for directive in line["_aws"]["CloudWatchMetrics"]:
                for names in directive["Dimensions"]:
                    dimensions = frozenset((name, str(line[name])) for name in names)
                    for metric in directive["Metrics"]:
                        key = Key(directive["Namespace"], metric["Name"], dimensions)
                        value = line[metric["Name"]]
                        data[key] += [(at, each) for each in (value if isinstance(value, list) else [value])]
        # As CloudWatch names a queue: by the last part of its URL.
        queue = self._outputs["DeadLettersUrl"].rpartition("/")[2]
        depth = Key("AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({("QueueName", queue)}))
        data[depth] = self._depths
        return data

    def _read(self) -> set[str]:
        """Reads all lines anew, but for those of calls that were none of the load. The ids that have no line yet."""
        logs, group = self._client("logs"), self._outputs["FunctionLogsName"]
        found: list[dict[str, Any]] = []
        # Minute by minute, since the emulator gives no token for what is left.
        for start in range(int(self.started * 1000), int(time.time() * 1000), 60_000):
            events = logs.filter_log_events(
                logGroupName=group, startTime=start, endTime=start + 59_999, filterPattern='"CloudWatchMetrics"'
            )["events"]
            if len(events) >= _MOST_LINES:
                raise Failure("There are more lines in a minute than the emulator gives at once.")
            found += [json.loads(event["message"]) for event in events]
        self._lines = [line for line in found if line["endpoint"] in _UNASKED or line.get("request_id") in self._sent]
        return self._sent.keys() - {line.get("request_id") for line in self._lines}

    def is_as_told(self) -> bool:
        """Prints what was sent beside what the logs tell. Whether they agree, and every answer was as it should be."""
        sent = Counter(endpoint for endpoint, _ in self._sent.values())
        told = Counter(str(line["endpoint"]) for line in self._lines)
        print(f"{'':24}{'sent':>8}{'in logs':>8}")
        for endpoint in sorted(told.keys() | sent.keys()):
            print(f"{endpoint:24}{sent[endpoint] or '':>8}{told[endpoint]:>8}")
        print(f"{'all that were sent':24}{sent.total():>8}{sum(told[endpoint] for endpoint in sent):>8}")
        statuses = Counter(status for _, status in self._sent.values() if status is not None)
        print("answers: " + ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items())))
        asked = [line for line in self._lines if line["endpoint"] not in _UNASKED]
        by_id = {line["request_id"]: (line["endpoint"], line.get("status")) for line in asked}
        agree = by_id == self._sent and len(asked) == len(self._sent)
        if not agree:
            print("The logs tell otherwise.", file=sys.stderr)
        if unexpected := statuses.keys() - _EXPECTED:
            print(f"Unexpected: {sorted(unexpected)}", file=sys.stderr)
        return agree and not unexpected


class _User:
    """Somebody with conversations."""

    def __init__(self, api_url: str, token: str, remember: Callable[[str, str, int], None], number: int) -> None:
        """Signed in by *token*, has each answer remembered. Of the same *number*, they choose the same."""
        self.random = random.Random(number)  # noqa: S311 - nobody is to be kept from guessing
        self._api_url, self._remember = api_url, remember
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"
        # Of each conversation, its messages.
        self._messages: dict[str, list[str]] = {}

    def close(self) -> None:
        """Lets go of the connection."""
        self._session.close()

    def act(self) -> None:
        """Makes one request, of any kind that is possible now."""
        (endpoint,) = self.random.choices(list(_SHARES), list(_SHARES.values()))
        spoken = [id for id, messages in self._messages.items() if messages]
        if endpoint == "mistake":
            self._send(*self.random.choice(_MISTAKES))
        elif endpoint == "create_conversation" or not self._messages:
            self._messages[self.create_conversation()] = []
        elif endpoint in _OF_MESSAGES and spoken:
            self._act_on_message(endpoint, self.random.choice(spoken))
        else:
            self._act_on_conversation(endpoint, self.random.choice(list(self._messages)))

    def create_conversation(self) -> str:
        """The id of a new one."""
        body = {"contact_id": self.random.choice(_USERS), "group_id": self.random.choice([None, "friends"])}
        return str(self._send("create_conversation", "POST", "/conversations", body)["id"])

    def _act_on_conversation(self, endpoint: str, id: str) -> None:
        if endpoint == "list_conversations":
            self._send(endpoint, "GET", self.random.choice(["/conversations", "/conversations?archived=false"]))
        elif endpoint == "list_messages":
            self._send(endpoint, "GET", self.random.choice(["/messages", f"/messages?conversation_id={id}"]))
        elif endpoint == "retrieve_conversation":
            self._send(endpoint, "GET", f"/conversations/{id}")
        elif endpoint == "update_conversation":
            flag = self.random.choice(["is_pinned", "is_muted"])
            self._send(endpoint, "PUT", f"/conversations/{id}", {flag: self.random.random() < 0.5})
        elif endpoint == "delete_conversation":
            self._send(endpoint, "DELETE", f"/conversations/{id}")
            del self._messages[id]
        else:
            # Also in place of what takes a message, while there is none.
            body = {"conversation_id": id, "message": "Merry Christmas, you filthy animal."}
            self._messages[id].append(self._send("create_message", "POST", "/messages", body)["id"])

    def _act_on_message(self, endpoint: str, conversation: str) -> None:
        id = self.random.choice(self._messages[conversation])
        if endpoint == "retrieve_message":
            self._send(endpoint, "GET", f"/messages/{id}")
        elif endpoint == "update_message":
            self._send(endpoint, "PUT", f"/messages/{id}", {"read_at": int(time.time())})
        else:
            self._send(endpoint, "DELETE", f"/messages/{id}")
            self._messages[conversation].remove(id)

    def _send(self, endpoint: str, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """What the API answers; None where that is an error or nothing."""
        answer = self._session.request(method, f"{self._api_url}{path}", json=body, timeout=60)
        self._remember(answer.headers["X-Request-Id"], endpoint, answer.status_code)
        return answer.json() if answer.ok and answer.content else None


def _each(period: int, seconds: int) -> range:
    # Not at the very beginning, nor when all is over.
    return range(period // 2, seconds, period)


def _dashboard(port: int) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The widgets of the dashboard as it is deployed, and all alarms by ARN."""
    session: Any = aws_session()
    cloudformation, cloudwatch = (
        session.client(service, endpoint_url=emulator_url(port)) for service in ("cloudformation", "cloudwatch")
    )
    described = cloudformation.describe_stack_resource(StackName=stack.NAME, LogicalResourceId="Dashboard")
    name = described["StackResourceDetail"]["PhysicalResourceId"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    return body["widgets"], {alarm["AlarmArn"]: alarm for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}


def lines_of(properties: Mapping[str, Any]) -> list[Line]:
    """The metrics of a widget, with its abbreviations written out: "." is as before, "..." is all that is left out."""
    written: list[tuple[list[str], dict[str, Any]]] = []
    for given in properties["metrics"]:
        options = given[-1] if isinstance(given[-1], dict) else {}
        parts = [part for part in given if part is not options]
        before = written[-1][0] if written else []
        if parts[0] == "...":
            parts = before[: len(before) - len(parts) + 1] + parts[1:]
        written.append(([before[at] if part == "." else part for at, part in enumerate(parts)], options))
    same = len({tuple(parts[:2]) for parts, _ in written}) == 1 and len(written) > 1
    return [
        Line(
            Key(parts[0], parts[1], frozenset(zip(parts[2::2], parts[3::2], strict=True))),
            options.get("stat", properties["stat"]),
            options.get("label", parts[-1] if same else parts[1]),
        )
        for parts, options in written
    ]


def aggregated(values: Sequence[tuple[float, float]], stat: str, period: int) -> dict[float, float]:
    """*stat* of the values in each *period* that has any, by when that begins."""
    found: defaultdict[float, list[float]] = defaultdict(list)
    for at, value in values:
        found[at // period * period].append(value)
    return {start: _statistic(stat, sorted(several)) for start, several in sorted(found.items())}


def _statistic(stat: str, ascending: Sequence[float]) -> float:
    if stat == "Sum":
        return sum(ascending)
    if stat == "Maximum":
        return ascending[-1]
    if stat.startswith("p"):
        return ascending[math.ceil(len(ascending) * float(stat[1:]) / 100) - 1]
    raise Failure(f"The dashboard asks for the statistic {stat}, which this does not know yet.")


class Box(NamedTuple):
    """A part of the picture, in inches from its upper left corner."""

    left: float
    top: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """What remains of it within such margins."""
        return Box(self.left + left, self.top + top, self.width - left - right, self.height - top - bottom)

    def cell(self, number: int, count: int, columns: int) -> "Box":
        """One of *count* equal parts, from left to right and then downwards."""
        width, height = self.width / columns, self.height / math.ceil(count / columns)
        return Box(self.left + number % columns * width, self.top + number // columns * height, width, height)


class Drawing:
    """The whole dashboard, each widget in its place."""

    def __init__(self, data: Data, period: int, started: float, ended: float) -> None:
        """Of *data*, a point for each *period* from *started* to *ended*."""
        self._data, self._period = data, period
        self._starts = [float(second) for second in range(int(started // period * period), int(ended), period)]
        self._figure: Any = None
        self._height = 0.0

    def save(self, widgets: Sequence[Mapping[str, Any]], alarms: Mapping[str, Mapping[str, Any]], file: Path) -> None:
        """Writes it to *file*."""
        self._height = _HEAD + _ROW * max(widget["y"] + widget["height"] for widget in widgets)
        self._figure = Figure(figsize=(_WIDTH, self._height))
        minutes = len(self._starts) * self._period / 60
        self._write(0.12, 0.12, f"The dashboard after {minutes:g} minutes of load on the embedded stack", 15)
        told = (
            f"{_date(self._starts[0]):%Y-%m-%d}, times in UTC; {self._period} s to a point here, 60 s on AWS; "
            "a sweep each minute, not each five; the depth of the queue as itself tells it"
        )
        self._write(0.12, 0.42, told, 9, _FAINT)
        for widget in widgets:
            left, width = widget["x"] * _WIDTH / 24, widget["width"] * _WIDTH / 24
            frame = Box(left, _HEAD + widget["y"] * _ROW, width, widget["height"] * _ROW).inside(*4 * [_GAP])
            self._frame(frame, "white")
            self._write(frame.left + 0.12, frame.top + 0.1, widget["properties"]["title"], 11)
            if widget["type"] == "alarm":
                named = [alarms[arn] for arn in widget["properties"]["alarms"]]
                self._draw_alarms(named, frame.inside(0.12, 0.4, 0.04, 0.08))
            else:
                self._draw_metrics(widget["properties"], frame)
        self._figure.savefig(file, dpi=_DPI)

    def _draw_metrics(self, properties: Mapping[str, Any], frame: Box) -> None:
        lines = lines_of(properties)
        if all(map(self._is_of_aws, lines)):
            self._write(frame.left + frame.width / 2, frame.top + frame.height / 2, _AWS_ONLY, 11, _FAINT)
            return
        columns = 5 if len(lines) > 4 else 2
        axes = self._axes(frame.inside(0.55, 0.4, 0.2, 0.38 + 0.2 * math.ceil(len(lines) / columns)))
        found = [aggregated(self._data.get(line.key, ()), line.stat, self._period) for line in lines]
        if properties.get("stacked"):
            layers = [[points.get(start, 0) for start in self._starts] for points in found]
            labels = [line.label for line in lines]
            axes.stackplot([_date(start) for start in self._starts], layers, labels=labels, alpha=0.85)
        else:
            for number, (line, points) in enumerate(zip(lines, found, strict=True)):
                why = "" if points else f" ({_AWS_ONLY if self._is_of_aws(line) else 'none'})"
                style = {"color": f"C{number}" if points else _EDGE, "marker": "o", "markersize": 3, "linewidth": 1.3}
                starts = [start for start in self._starts if start in points]
                heights = [points[start] for start in starts]
                axes.plot([_date(start) for start in starts], heights, label=line.label + why, **style)
        axes.set_ylim(bottom=0, top=max(1, axes.get_ylim()[1]))
        style = {"fontsize": 8, "frameon": False, "handlelength": 1.4, "columnspacing": 1.2}
        axes.legend(loc="upper left", bbox_to_anchor=(-0.06, -0.12), ncols=columns, **style)

    def _is_of_aws(self, line: Line) -> bool:
        """Whether a metric is not to be had here: AWS's own, or of access logs, which the emulator does not write."""
        is_foreign = line.key.namespace.startswith("AWS/") or line.key.name.startswith("Throttled-")
        return is_foreign and line.key not in self._data

    def _axes(self, box: Box) -> Any:  # noqa: ANN401 - matplotlib has no types
        axes = self._figure.add_axes(self._fractions(box))
        axes.grid(axis="y", color=_GRID, zorder=0)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0, labelsize=8, pad=5)
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlim(_date(self._starts[0]), _date(self._starts[-1] + self._period))
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S" if len(self._starts) * self._period < 240 else "%H:%M"))
        return axes

    def _draw_alarms(self, alarms: Sequence[Mapping[str, Any]], box: Box) -> None:
        for number, alarm in enumerate(alarms):
            cell = box.cell(number, len(alarms), 5).inside(0, 0.03, 0.08, 0.03)
            self._frame(cell, "#f4f6f8")
            # As CloudFormation names it: after the stack, then the logical id.
            self._write(cell.left + 0.1, cell.top + 0.06, alarm["AlarmName"].split("-")[-2], 10)
            self._write(cell.left + 0.1, cell.top + 0.27, _condition(alarm), 7.5, _FAINT)

    def _frame(self, box: Box, colour: str) -> None:
        left, bottom, width, height = self._fractions(box)
        style = {"boxstyle": "round,pad=0,rounding_size=0.002", "transform": self._figure.transFigure}
        patch = FancyBboxPatch((left, bottom), width, height, facecolor=colour, edgecolor=_EDGE, linewidth=0.8, **style)
        # Behind the plots.
        self._figure.add_artist(patch).set_zorder(-1)

    def _write(self, left: float, top: float, text: str, size: float, colour: str = "black") -> None:
        """Writes *text* from there to the right and down, or around there if it stands for a plot."""
        place = {"ha": "center", "va": "center"} if text == _AWS_ONLY else {"ha": "left", "va": "top"}
        self._figure.text(left / _WIDTH, 1 - top / self._height, text, fontsize=size, color=colour, **place)

    def _fractions(self, box: Box) -> tuple[float, float, float, float]:
        """*box* as matplotlib has it: left, bottom, width and height, in parts of the picture."""
        bottom = 1 - (box.top + box.height) / self._height
        return box.left / _WIDTH, bottom, box.width / _WIDTH, box.height / self._height


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _condition(alarm: Mapping[str, Any]) -> str:
    stat = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    name = alarm["MetricName"].replace("ApproximateNumberOfMessagesVisible", "messages")
    periods = f"{alarm['DatapointsToAlarm']} of {alarm['EvaluationPeriods']}"
    return f"{stat} of {name} ≥ {alarm['Threshold']:g}, {periods} x {alarm['Period']} s"


if __name__ == "__main__":
    sys.exit(main())
