"""`make run` and `make token`: what a developer sees of them."""

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


def local(*arguments: str | Path, project: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tools.local", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_printed_commands_work_when_pasted(stack: Stack) -> None:
    printed = (stack.home / "run.log").read_text()
    assert len(printed.splitlines()) <= 20
    commands = "".join(line for line in printed.splitlines(keepends=True) if line.startswith("  "))
    assert "curl" in commands
    pasted = subprocess.run(
        ["bash", "-e"],
        input=commands.replace("curl -H", "curl -sS -w '<%{http_code}>' -H"),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.findall(r"<(\d+)>", pasted.stdout) == ["200", "201", "200", "200", "200", "204"]
    assert pasted.stderr == ""


def test_a_fresh_token_is_printed_for_each_demo_user(stack: Stack) -> None:
    known = json.loads((stack.home / "stack.json").read_text())["tokens"]
    for user in ("kevin", "harry"):
        printed = local("--home", stack.home, "token", user)
        assert (printed.returncode, printed.stderr) == (0, "")
        assert printed.stdout.count(".") == 2
        assert printed.stdout.strip() != known[user]


def test_nobody_else_gets_a_token(stack: Stack) -> None:
    rejected = local("--home", stack.home, "token", "root")
    assert rejected.returncode == 1
    assert rejected.stderr == 'There is no demo user "root": say USER=kevin or USER=harry.\n'


def test_without_a_running_stack_there_is_no_token(tmp_path: Path) -> None:
    rejected = local("--home", tmp_path, "token", "kevin")
    assert rejected.returncode == 1
    assert rejected.stderr == "The stack is not running: start it with `make run`.\n"


def sample_data(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "local.sample_data", "--home", home, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": "layers/shared"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sample_data_is_completed_by_the_same_command_and_written_once(stack: Stack, kevin: Client) -> None:
    for conversations, messages in (("3", "1"), ("3", "4"), ("3", "4")):
        filled = sample_data(stack.home, "kevin", conversations, messages)
        assert (filled.returncode, filled.stderr) == (0, "")
        assert "100%" in filled.stdout
    found = kevin.list(limit=100)["data"]
    assert [conversation["contact_id"] for conversation in found] == ["kate", "marv", "harry"]
    assert [conversation["is_pinned"] for conversation in found] == [False, False, True]
    for conversation in found:
        messages_ = kevin.messages(conversation_id=conversation["id"], limit=100)["data"]
        assert {message["contact"] and message["contact"]["id"] for message in messages_} == {
            None,
            conversation["contact_id"],
        }
        assert len({message["message"] for message in messages_}) == 4


def test_without_a_running_stack_there_is_no_sample_data(tmp_path: Path) -> None:
    rejected = sample_data(tmp_path, "kevin", "1", "1")
    assert rejected.returncode == 1
    assert rejected.stderr.startswith("The stack is not running: start it with `make run`.")


def test_a_taken_port_is_said_and_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        rejected = local("--home", tmp_path, "run", "--port", str(port))
        assert rejected.returncode == 1
        assert rejected.stderr == (
            f"Port {port} is taken: stop what uses it, or choose another one, such as PORT={port + 1}.\n"
        )
        socket.create_connection(("127.0.0.1", port)).close()


def test_two_do_not_work_in_one_folder(stack: Stack) -> None:
    for command in (["run", "--port", str(free_port())], ["clean"]):
        rejected = local("--home", stack.home, *command)
        assert rejected.returncode == 1
        assert rejected.stderr == f"A `make run` is at work in {stack.home}: stop it first, with Ctrl-C.\n"
    assert stack.client("kevin").list() == {"has_more": False, "data": []}


def test_ctrl_c_stops_everything_and_the_next_start_updates_what_was_kept(stack: Stack, tmp_path: Path) -> None:
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
    assert wait_until(lambda: stack.rows_of(created) == [])


def test_clean_forgets_everything(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "state").mkdir(parents=True)
    (home / "state" / "dynamodb.json").touch()
    assert local("--home", home, "clean").returncode == 0
    assert not home.exists()


def test_a_failed_deployment_says_where_to_look(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    template = project / "template.yaml"
    template.write_text(template.read_text().replace("Authorizer: Cognito, ", ""))
    failed = local("run", "--port", str(free_port()), project=project)
    assert failed.returncode == 1
    assert failed.stderr == f"`sam deploy` failed: {project}/.local/deploy.log says why.\n"
    assert processes_in(project) == []


def test_a_missing_tool_is_said(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    (project / ".tools").unlink()
    rejected = local("run", project=project)
    assert rejected.returncode == 1
    assert rejected.stderr == (
        f"{project}/.tools/sam/bin/sam is missing: remove .tools, and `make run` installs it again.\n"
    )


def test_an_unsupported_python_is_said(tmp_path: Path) -> None:
    project = copy_of_project(tmp_path)
    (project / ".tools").unlink()
    rejected = subprocess.run(
        ["make", "run", "PYTHON=false"], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )
    assert rejected.returncode == 2
    assert rejected.stderr.startswith("No Python 3.11 to 3.14 with its venv module is here: install one (")


def copy_of_project(folder: Path) -> Path:
    """The project as it stands, to be spoilt; it borrows the installed tools."""
    project = folder / "project"
    shutil.copytree(ROOT, project, ignore=lambda _folder, names: [name for name in names if name in NOT_COPIED])
    (project / ".tools").symlink_to(ROOT / ".tools")
    return project


def processes_in(home: Path) -> list[str]:
    """The command lines of the processes that work in or below *home*."""
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(home) in line]
