"""One name per function everywhere, small handlers, and module docstrings. `make lint` checks the layers of imports."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.handlers import ENDPOINTS, FUNCTIONS, event
from tests.template import FUNCTIONS as IN_TEMPLATE
from tests.template import ROOT, logical_id

EVENT_FUNCTIONS = sorted(set(FUNCTIONS) - set(ENDPOINTS))
API, ARCHITECTURE = ((ROOT / "docs" / name).read_text() for name in ("api.md", "architecture.md"))
MAX_LINES = {"exercise_release": 80, "receive_message": 51, "retrieve_docs": 42}


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def imported_packages(path: Path) -> set[str]:
    """Returns the top-level packages that *path* imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names.add(str(node.module))
    return {name.partition(".")[0] for name in names}


def test_endpoints_are_those_of_the_contract() -> None:
    assert ENDPOINTS == [
        "count_unread",
        "create_conversation",
        "create_message",
        "create_redelivery",
        "create_webhook",
        "delete_conversation",
        "delete_message",
        "delete_webhook",
        "list_changes",
        "list_conversations",
        "list_inbox",
        "list_messages",
        "list_webhooks",
        "retrieve_conversation",
        "retrieve_docs",
        "retrieve_inbox_entry",
        "retrieve_message",
        "retrieve_webhook",
        "update_conversation",
        "update_inbox_entry",
        "update_message",
        "update_webhook",
    ]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_endpoint_has_the_same_name_everywhere(endpoint: str) -> None:
    route = IN_TEMPLATE[logical_id(endpoint)]["Events"]["Http"]["Properties"]
    method_and_path = f"{route['Method']} /v1{route['Path']}"
    sample = event(endpoint)
    assert (sample["httpMethod"], sample["resource"]) == (route["Method"], route["Path"])
    assert (ROOT / f"tests/unit/test_{endpoint}.py").exists()
    assert f"| `{endpoint}` | `{method_and_path}` |" in API
    assert f"| `{endpoint}` | `{method_and_path}`" in ARCHITECTURE
    assert docstring(ROOT / f"functions/{endpoint}/app.py").startswith(f"{method_and_path}: ")


@pytest.mark.parametrize("function", EVENT_FUNCTIONS)
def test_event_function_has_the_same_name_everywhere(function: str) -> None:
    assert any((ROOT / "tests").glob(f"*/test_{function}.py"))
    assert f"| `{function}` |" in ARCHITECTURE


def test_no_orphaned_events_or_docs_rows() -> None:
    assert {logical_id(function) for function in FUNCTIONS} == IN_TEMPLATE.keys()
    assert {path.stem for path in (ROOT / "events").glob("*.json")} - {"env"} == set(FUNCTIONS)
    for page in (API, ARCHITECTURE):
        assert sorted(re.findall(r"^\| `(\w+)` \| `[A-Z]+ /v1", page, re.MULTILINE)) == ENDPOINTS


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handler_is_small_and_imports_only_the_layer(function: str) -> None:
    path = ROOT / f"functions/{function}/app.py"
    allowed = {"coherent"} | (set() if function in ENDPOINTS else {"aws_lambda_powertools", "botocore"})
    if function == "exercise_release":
        allowed.add("exercise")
    packages = imported_packages(path)
    assert "coherent" in packages
    assert packages - allowed <= sys.stdlib_module_names
    assert 15 <= len(path.read_text().splitlines()) <= MAX_LINES.get(function, 35)


@pytest.mark.parametrize(
    "path",
    [
        path
        for folder in ("layers/shared", "functions", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.stat().st_size
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_module_docstring_is_a_sentence(path: Path) -> None:
    assert docstring(path).partition("\n")[0].endswith((".", ":"))
