"""One word per endpoint everywhere, and imports that point down."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from tests.handlers import ENDPOINTS
from tests.handlers import FUNCTIONS as HANDLERS
from tests.template import FUNCTIONS, ROOT, logical_id

LAYER = ROOT / "layers/shared"
# What a module of the layer may import of it: only what stands below. Functions may import all of it.
BELOW = {
    "coherent": set(),
    "coherent.api": {"coherent.deadline", "coherent.errors", "coherent.ids", "coherent.metrics", "coherent.parameters"},
    "coherent.client": {"coherent.deadline", "coherent.errors"},
    "coherent.conversations": set(),
    "coherent.conversations.models": {"coherent.ids", "coherent.parameters"},
    "coherent.conversations.repository": {
        "coherent.conversations.models",
        "coherent.dynamodb",
        "coherent.errors",
        "coherent.idempotency",
        "coherent.ids",
        "coherent.rows",
    },
    "coherent.deadline": {"coherent.errors"},
    "coherent.dynamodb": {"coherent.client", "coherent.errors", "coherent.metrics"},
    "coherent.errors": set(),
    "coherent.idempotency": {"coherent.errors", "coherent.rows"},
    "coherent.ids": set(),
    "coherent.messages": set(),
    "coherent.messages.models": {"coherent.ids", "coherent.parameters"},
    "coherent.messages.purge": {"coherent.dynamodb", "coherent.rows"},
    "coherent.messages.repository": {
        "coherent.dynamodb",
        "coherent.errors",
        "coherent.idempotency",
        "coherent.ids",
        "coherent.messages.models",
        "coherent.rows",
    },
    "coherent.metrics": set(),
    "coherent.parameters": {"coherent.errors", "coherent.ids"},
    "coherent.release": set(),
    "coherent.rows": {"coherent.client", "coherent.dynamodb", "coherent.errors", "coherent.parameters"},
}
MODULES = {
    ".".join(path.relative_to(LAYER).with_suffix("").parts).removesuffix(".__init__"): path
    for path in LAYER.rglob("coherent/**/*.py")
}


def imported(path: Path) -> set[str]:
    """The modules that *path* imports, type hints included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


def test_there_are_the_endpoints_of_the_contract_and_the_page_that_shows_them() -> None:
    assert ENDPOINTS == [
        "create_conversation",
        "create_message",
        "delete_conversation",
        "delete_message",
        "list_conversations",
        "list_messages",
        "retrieve_conversation",
        "retrieve_docs",
        "retrieve_message",
        "update_conversation",
        "update_message",
    ]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_has_one_word_everywhere(endpoint: str) -> None:
    route = FUNCTIONS[logical_id(endpoint)]["Events"]["Http"]["Properties"]
    event = json.loads((ROOT / f"events/{endpoint}.json").read_text())
    assert (event["httpMethod"], event["resource"]) == (route["Method"], route["Path"])
    assert (ROOT / f"tests/unit/test_{endpoint}.py").exists()
    readme = (ROOT / "README.md").read_text()
    assert f"| `{endpoint}` | `{route['Method']} /v1{route['Path']}` |" in readme
    docstring = ast.get_docstring(ast.parse((ROOT / f"functions/{endpoint}/app.py").read_text()))
    assert str(docstring).startswith(f"{route['Method']} /v1{route['Path']}: ")


@pytest.mark.parametrize("function", sorted(set(HANDLERS) - set(ENDPOINTS)))
def test_a_function_of_another_source_has_one_word_everywhere_too(function: str) -> None:
    assert any((ROOT / "tests").glob(f"*/test_{function}.py"))
    assert f"| `{function}` |" in (ROOT / "README.md").read_text()


def test_nothing_is_named_after_a_function_that_is_none() -> None:
    assert {logical_id(function) for function in HANDLERS} == FUNCTIONS.keys()
    assert {path.stem for path in (ROOT / "events").glob("*.json")} - {"env"} == set(HANDLERS)
    readme_rows = re.findall(r"^\| `(\w+)` \| `[A-Z]+ /v1", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(readme_rows) == ENDPOINTS


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_the_layer_imports_only_what_stands_below(module: str) -> None:
    assert {name for name in imported(MODULES[module]) if name.partition(".")[0] == "coherent"} <= BELOW[module]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"coherent.api"}))
def test_http_is_none_of_the_repositorys_business(module: str) -> None:
    assert not {name for name in imported(MODULES[module]) if name.startswith(("http", "urllib", "coherent.api"))}


def test_dynamodb_is_none_of_the_edges_business() -> None:
    assert not {name for name in imported(MODULES["coherent.api"]) if name.startswith(("boto", "coherent.dynamodb"))}


@pytest.mark.parametrize("function", HANDLERS)
def test_a_function_imports_the_layer_and_no_other_function(function: str) -> None:
    path = ROOT / f"functions/{function}/app.py"
    roots = {name.partition(".")[0] for name in imported(path)}
    others = {"aws_lambda_powertools", "botocore"} if function not in ENDPOINTS else set()
    assert "coherent" in roots
    assert roots - {"coherent"} - others <= sys.stdlib_module_names
    # One is a journey through all the others.
    assert len(path.read_text().splitlines()) <= (110 if function == "exercise_release" else 35)


@pytest.mark.parametrize(
    "path", [*MODULES.values(), *sorted((ROOT / "tools/local").glob("*.py"))], ids=lambda path: path.stem
)
def test_a_module_opens_with_a_sentence_on_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert docstring.partition("\n")[0].endswith((".", ":"))
