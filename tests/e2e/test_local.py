"""`make run`, `make token` and `make clean` as a developer uses them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.stack import Client, Stack, free_port, wait_until
from tests.template import ROOT
from tools.local import users

NOT_COPIED = {
    ".schemathesis",
    ".aws-sam",
    ".git",
    ".hypothesis",
    ".local",
    ".mypy_cache",
    ".pytest_cache",
    ".tools",
    ".venv",
}


def run_command(*arguments: str | Path, project: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tools.local", *arguments],
        cwd=project,
        env=os.environ | {"PYTHONPATH": "layers/shared"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_printed_commands_work(stack: Stack, kevin: Client, harry: Client) -> None:
    printed = (stack.home / "run.log").read_text()
    assert len(printed.splitlines()) <= 29
    commands = "".join(line for line in printed.splitlines(keepends=True) if line.startswith("  "))
    assert "curl" in commands
    done = subprocess.run(
        ["bash", "-e"],
        input=commands.replace("curl -H", "curl -sS -w '<%{http_code}>' -H"),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.findall(r"<(\d+)>", done.stdout) == ["200", "201", "200", "200", "200", "204", "201", "200"]
    assert done.stderr == ""
    (conversation,) = kevin.list()["data"]
    assert conversation["contact_id"] == harry.user_id
    assert [message["message"] for message in kevin.messages()["data"]] == ["Keep the change."]
    assert wait_until(lambda: harry.inbox()["data"])
    (entry,) = harry.inbox()["data"]
    assert (entry["conversation"]["contact_id"], entry["last_message"]["message"]) == (
        kevin.user_id,
        "Keep the change.",
    )


def test_demo_users_are_people_who_signed_in(stack: Stack) -> None:
    outputs = stack.outputs()
    for name in users.DEMO_USERS:
        found = stack.aws("cognito-idp").admin_get_user(
            UserPoolId=outputs["UserPoolId"], Username=f"{name}@example.com"
        )
        (sub,) = [attribute["Value"] for attribute in found["UserAttributes"] if attribute["Name"] == "sub"]
        client = stack.client(name)
        claims = users.claims(client.token)
        assert (claims["sub"], claims["username"], claims["client_id"]) == (
            sub,
            found["Username"],
            outputs["AppClientId"],
        )
        assert set(claims["scope"].split()) == set(users.SCOPES)
        assert client.list()["data"] == []


def test_token_command_prints_new_tokens(stack: Stack) -> None:
    first = json.loads((stack.home / "stack.json").read_text())["tokens"]
    for user in ("kevin", "harry"):
        printed = run_command("--home", stack.home, "token", user)
        assert (printed.returncode, printed.stderr) == (0, "")
        assert printed.stdout.count(".") == 2
        assert printed.stdout.strip() != first[user]
    printed = run_command("--home", stack.home, "token", "operator")
    assert users.claims(printed.stdout.strip())["scope"] == "webhooks/write"


def test_token_command_rejects_unknown_users(stack: Stack) -> None:
    rejected = run_command("--home", stack.home, "token", "root")
    assert rejected.returncode == 1
    assert (
        rejected.stderr == 'There is no demo user "root": use USER=kevin or USER=harry, or for tokens USER=operator.\n'
    )


def test_token_command_needs_a_running_stack(tmp_path: Path) -> None:
    rejected = run_command("--home", tmp_path, "token", "kevin")
    assert rejected.returncode == 1
    assert rejected.stderr == "The stack is not running: start it with `make run`.\n"


def test_sample_data_command_continues_without_duplicates(stack: Stack, kevin: Client) -> None:
    for conversations, messages in (("3", "1"), ("3", "4"), ("3", "4")):
        done = run_command("--home", stack.home, "sample-data", "kevin", conversations, messages)
        assert (done.returncode, done.stderr) == (0, "")
        assert "100%" in done.stdout
    found = kevin.list(limit=100)["data"]
    assert [conversation["contact_id"] for conversation in found] == ["kate", "marv", "harry"]
    assert [conversation["is_pinned"] for conversation in found] == [False, False, True]
    for conversation in found:
        created = kevin.messages(conversation_id=conversation["id"], limit=100)["data"]
        contacts = {message["contact"] and message["contact"]["id"] for message in created}
        assert contacts == {None, conversation["contact_id"]}
        assert len({message["message"] for message in created}) == 4


def test_sample_data_command_needs_a_running_stack(tmp_path: Path) -> None:
    rejected = run_command("--home", tmp_path, "sample-data", "kevin", "1", "1")
    assert rejected.returncode == 1
    assert rejected.stderr.startswith("The stack is not running: start it with `make run`.")


def test_port_in_use_is_reported_and_untouched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        rejected = run_command("--home", tmp_path, "run", "--port", str(port))
        assert rejected.returncode == 1
        assert rejected.stderr == f"Port {port} is in use: choose another one, such as PORT={port + 1}.\n"
        socket.create_connection(("127.0.0.1", port)).close()


def test_second_run_in_the_same_folder_is_rejected(stack: Stack) -> None:
    for command in (["run", "--port", str(free_port())], ["clean"]):
        rejected = run_command("--home", stack.home, *command)
        assert rejected.returncode == 1
        assert rejected.stderr == f"`make run` is already running in {stack.home}: stop it first with Ctrl-C.\n"
    assert stack.client("kevin").list() == {"has_more": False, "data": []}


def test_restart_updates_the_stack_and_keeps_data(stack: Stack, tmp_path: Path) -> None:
    kevin = stack.client("kevin")
    created = kevin.create(contact_id="harry", group_id="friends")
    for is_pinned in (True, False) * 10:
        kevin.update(created, is_pinned=is_pinned)
    assert processes_in(stack.home)
    assert stack.stop() == 0
    assert not (stack.home / "stack.json").exists()
    assert processes_in(stack.home) == []

    project = copy_of_project(tmp_path)
    template = project / "template.yaml"
    template.write_text(template.read_text().replace("'86400'", "'600'"))
    stack.start(project)
    restarted = stack.client("kevin")
    assert restarted.send("OPTIONS", "/conversations").headers["Access-Control-Max-Age"] == "600"
    assert restarted.list()["data"] == [created]
    assert restarted.update(created, is_muted=True) == created | {"is_muted": True}
    restarted.send_message(created)
    restarted.send("DELETE", f"/conversations/{created['id']}")
    assert wait_until(lambda: stack.message_rows(created) == [])


def test_clean_deletes_all_state(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "state").mkdir(parents=True)
    (home / "state" / "dynamodb.json").touch()
    assert run_command("--home", home, "clean").returncode == 0
    assert not home.exists()


def test_failed_deployment_names_its_log(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    template = project / "template.yaml"
    template.write_text(template.read_text().replace("Authorizer: Cognito, ", ""))
    failed = run_command("run", "--port", str(free_port()), project=project)
    assert failed.returncode == 1
    assert failed.stderr == f"`sam deploy` failed: see {project}/.local/deploy.log.\n"
    assert processes_in(project) == []


def test_missing_tool_is_reported(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    (project / ".tools").unlink()
    rejected = run_command("run", project=project)
    assert rejected.returncode == 1
    assert rejected.stderr == (
        f"{project}/.tools/sam/bin/sam is missing: remove .tools, then `make run` installs it again.\n"
    )


def test_unsupported_python_is_reported(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    (project / ".tools").unlink()
    rejected = subprocess.run(
        ["make", "run", "PYTHON=false"], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )
    assert rejected.returncode == 2
    assert rejected.stderr.startswith("Python 3.11 to 3.14 with its venv module was not found: install it (")


def copy_of_project(folder: Path) -> Path:
    """Copies the project, which a test may then break; the copy uses the installed tools."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=lambda _folder, names: [name for name in names if name in NOT_COPIED])
    (project / ".tools").symlink_to(ROOT / ".tools")
    return project


def processes_in(home: Path) -> list[str]:
    """Returns the command lines of the processes that work in *home*."""
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(home) in line]
