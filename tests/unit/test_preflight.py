"""`make preflight` against a fake of AWS: findings, exit codes, and that it only reads."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.server import Handler, Response, json_response, listening
from tests.template import ROOT
from tools.preflight.__main__ import main

ROLE = "arn:aws:iam::123456789012:role/logs"
IDENTITY = "<GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>"
RESOURCE = "<StackResourceDetail><PhysicalResourceId>{}</PhysicalResourceId></StackResourceDetail>"


class Account:
    """An account of AWS. A new one has a Lambda quota of 10."""

    def __init__(self) -> None:
        self.quota = self.unreserved = 10
        self.role: str | None = ROLE
        # What each function of the deployed stack has reserved. None: the stack does not exist.
        self.reserved: int | None = None
        self.denied: set[str] = set()
        self.operations: list[str] = []

    def respond(self, operation: str) -> Response:
        """Returns the response to *operation*."""
        self.operations.append(operation)
        if operation in self.denied:
            return json_response(400, {"__type": "AccessDeniedException", "message": f"not authorized: {operation}"})
        match operation:
            case "GetCallerIdentity":
                return xml(operation, IDENTITY)
            case "DescribeStackResource" if self.reserved is not None:
                result = RESOURCE.format("name")
                return xml(operation, f"<{operation}Result>{result}</{operation}Result>")
            case "DescribeStackResource":
                error = "<Error><Code>ValidationError</Code><Message>does not exist</Message></Error>"
                return Response(400, f"<ErrorResponse>{error}</ErrorResponse>".encode())
        limits = {"ConcurrentExecutions": self.quota, "UnreservedConcurrentExecutions": self.unreserved}
        bodies: dict[str, Any] = {
            "account-settings": {"AccountLimit": limits},
            "concurrency": {"ReservedConcurrentExecutions": self.reserved},
            "account": {"cloudwatchRoleArn": self.role} if self.role else {},
        }
        return json_response(200, bodies.get(operation, {}))


def xml(operation: str, content: str) -> Response:
    return Response(200, f"<{operation}Response>{content}</{operation}Response>".encode())


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A fake of AWS that boto3's clients connect to."""
    account = Account()

    class _Handler(Handler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            self.respond(account.respond(self.path.rstrip("/").rpartition("/")[2]))

        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            target = self.headers["X-Amz-Target"]
            self.respond(account.respond(target.rpartition(".")[2] if target else parse_qs(body)["Action"][0]))

    with listening(_Handler) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        yield account


@pytest.fixture
def check(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Returns the exit code and the lines of a preflight of an environment with the given parameters."""
    del account

    def run(**parameters: str) -> tuple[int, list[str]]:
        overrides = json.dumps([f"{name}={value}" for name, value in parameters.items()])
        settings = f'[chosen.deploy.parameters]\nstack_name = "chosen"\nparameter_overrides = {overrides}\n'
        path = tmp_path / "samconfig.toml"
        path.write_text(settings)
        code = main(["chosen", "--config-file", str(path)])
        return code, capsys.readouterr().out.splitlines()

    return run


def found(lines: list[str], text: str) -> str:
    """Returns the level of the only line that contains *text*."""
    (line,) = [line for line in lines if text in line]
    return line.split()[0]


def test_defaults_deploy_to_a_new_account(check: Any, account: Account) -> None:
    account.role = None
    code, lines = check(SetApiGatewayLogsRole="true")
    assert code == 0
    assert found(lines, "account 123456789012, region eu-west-1") == "ok"
    assert found(lines, "ThrottleRate=100, or ask for more") == "note"
    assert found(lines, "ConcurrencyAlarm=8") == "note"
    assert found(lines, "EventConcurrency=0") == "ok"
    assert found(lines, "The stack sets API Gateway's role") == "ok"
    assert found(lines, "Nobody gets the alarms") == "note"
    assert found(lines, "50 messages a day") == "note"


def test_preflight_only_reads(check: Any, account: Account) -> None:
    account.reserved = 20
    check(Canary="true", WebAcl="true")
    names = {name for name in account.operations if re.match("Get|List|Describe", name)}
    # The others are the paths of REST calls, which are GET requests.
    assert set(account.operations) - names == {"account-settings", "concurrency", "account"}
    assert names == {
        *("GetCallerIdentity", "DescribeStackResource", "ListUserPools", "ListApplications", "ListWebACLs"),
    }


@pytest.mark.parametrize(
    ("reserved", "unreserved", "wanted", "code"),
    [(None, 10, 0, 0), (None, 10, 1, 1), (None, 200, 20, 0), (None, 199, 20, 1), (20, 100, 20, 0), (20, 100, 21, 1)],
)
def test_reservation_that_lambda_rejects_stops(
    reserved: int | None, unreserved: int, wanted: int, *, code: int, check: Any, account: Account
) -> None:
    account.reserved, account.unreserved = reserved, unreserved
    assert check(EventConcurrency=str(wanted), SetApiGatewayLogsRole="false")[0] == code


def test_settings_that_fit_a_large_quota_are_ok(check: Any, account: Account) -> None:
    account.quota = account.unreserved = 1000
    code, lines = check(AlarmEmail="oncall@example.com", SesIdentityArn="arn:aws:ses:eu-west-1:1:identity/example.com")
    assert code == 0
    for text in ("enough for ThrottleRate=500", "ConcurrencyAlarm=800", "oncall@example.com", "not sent by Cognito"):
        assert found(lines, text) == "ok"


@pytest.mark.parametrize(
    ("role", "sets_role", "level"),
    [(None, "false", "STOP"), (None, "true", "ok"), (ROLE, "false", "ok"), (ROLE, "true", "note")],
)
def test_log_role_of_the_account_is_compared(
    role: str | None, sets_role: str, level: str, check: Any, account: Account
) -> None:
    account.role = role
    code, lines = check(SetApiGatewayLogsRole=sets_role)
    assert found(lines, "role for logs") == level
    assert code == (level == "STOP")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [({"Canary": "true"}, 1), ({"Canary": "true", "ProtectData": "false"}, 0), ({"ProtectData": "true"}, 0)],
)
def test_production_without_an_alarm_email_stops(parameters: dict[str, str], code: int, check: Any) -> None:
    assert check(SetApiGatewayLogsRole="false", **parameters)[0] == code


def test_missing_service_stops_only_if_it_is_used(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # No process listens on port 1.
    monkeypatch.setenv("AWS_ENDPOINT_URL_WAFV2", "http://127.0.0.1:1")
    assert check(SetApiGatewayLogsRole="false")[0] == 0
    code, lines = check(SetApiGatewayLogsRole="false", WebAcl="true")
    assert code == 1
    assert found(lines, "wafv2 does not respond") == "STOP"


@pytest.mark.parametrize(
    ("region", "snapstart", "level"),
    [
        ("eu-west-1", "PublishedVersions", "ok"),
        ("eu-south-1", "PublishedVersions", "note"),
        ("eu-south-1", "None", "ok"),
    ],
)
def test_region_without_known_snapstart_is_noted(
    region: str, snapstart: str, level: str, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert found(check(SnapStart=snapstart)[1], "SnapStart") == level


def test_denied_question_is_noted(check: Any, account: Account) -> None:
    account.denied = {"account-settings", "account", "ListUserPools"}
    code, lines = check()
    assert code == 0
    assert [line.split()[:3] for line in lines if "not authorized" in line] == [["note", "Not", "checked"]] * 3


def test_every_environment_of_samconfig_can_be_checked(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    del account
    for name in re.findall(r"^\[(\w+)\.deploy\.parameters\]", (ROOT / "samconfig.toml").read_text(), re.MULTILINE):
        main([name])
        assert "conversations" in capsys.readouterr().out


def test_unknown_environment_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(SystemExit, match=r"no environment nope, only default, .*production"):
        main(["nope"])
