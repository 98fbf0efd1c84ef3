"""`make run` and `make token`: what a developer sees of them."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

from tests.e2e.stack import Stack, free_port, start, stop
from tests.template import ROOT


def local(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "local", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_printed_commands_work_when_pasted(stack: Stack) -> None:
    printed = (stack.home / "run.log").read_text()
    assert len(printed.splitlines()) <= 20
    commands = "".join(line for line in printed.splitlines(keepends=True) if line.startswith("  "))
    assert "curl" in commands
    pasted = subprocess.run(
        ["bash", "-e"],
        input=commands.replace("curl -H", "curl -sS -w '%{http_code} ' -H"),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert re.findall(r"\b(?:200|201|204) ", pasted.stdout) == ["200 ", "201 ", "200 ", "200 ", "200 ", "204 "]
    assert pasted.stderr == ""


def test_a_fresh_token_is_printed_for_each_demo_user(stack: Stack) -> None:
    known = json.loads((stack.home / "stack.json").read_text())["tokens"]
    for user in ("kevin", "harry"):
        printed = local("--home", stack.home, "token", user)
        assert (printed.returncode, printed.stderr) == (0, "")
        assert printed.stdout.count(".") == 2
        assert printed.stdout.strip() != known[user]


def test_nobody_else_gets_a_token(stack: Stack) -> None:
    refused = local("--home", stack.home, "token", "root")
    assert refused.returncode == 1
    assert refused.stderr == 'There is no demo user "root": say USER=kevin or USER=harry.\n'


def test_without_a_running_stack_there_is_no_token(tmp_path: Path) -> None:
    refused = local("--home", tmp_path, "token", "kevin")
    assert refused.returncode == 1
    assert refused.stderr == "The stack is not running: start it with `make run`.\n"


def test_a_taken_port_is_said_and_left_alone(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refused = local("--home", tmp_path, "run", "--port", str(port))
        assert refused.returncode == 1
        assert refused.stderr == (
            f"Port {port} is taken: stop what uses it, or choose another one, such as PORT={port + 1}.\n"
        )
        socket.create_connection(("127.0.0.1", port)).close()


def test_conversations_survive_a_restart_and_nothing_else_does(tmp_path: Path, stack: Stack) -> None:
    first = start(tmp_path, free_port())
    created = first.client("kevin").create(contact_id="harry", group_id="friends")
    assert stop(first) == 0
    assert not (tmp_path / "stack.json").exists()
    assert processes_in(tmp_path) == []
    second = start(tmp_path, first.port)
    try:
        assert second.api_url == first.api_url
        assert second.client("kevin").list()["data"] == [created]
        assert second.client("kevin").update(created, is_muted=True) == created | {"is_muted": True}
    finally:
        stop(second)
    assert stack.process.poll() is None


def processes_in(home: Path) -> list[str]:
    """The command lines of the processes that work in or below *home*."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(home) in line]
