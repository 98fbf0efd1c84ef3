"""The docs: links, shell commands, alarm pages and wording."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.template import ROOT, TEMPLATE

OPERATIONS = ROOT / "docs/operations"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# `make bench`, `make faults` and `make load` write these; their tools have tests of their own.
GENERATED = ROOT / "docs/results"
WRITTEN = [page for page in PAGES if GENERATED not in page.parents]
SECTIONS = ["Meaning", "Look", "Do", "Done"]
# Words of riddles, and words that the style guide in CONTRIBUTING.md replaces.
BANNED = re.compile(
    r"\b(nobody|whoever|whatever came|somebody else|is told|are told|was told|what came of it|what it takes|"
    r"the other side|orders? to purge|of its own accord|contenders?|refus(e|es|ed|al))\b",
    re.IGNORECASE,
)


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yields the language and content of each fenced block."""
    for _, language, content in re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield language, content


def prose(text: str) -> str:
    """Returns *text* without fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


@cache
def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of *page*."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = found.get(name, 0)
        found[name] = count + 1
        names.add(f"{name}-{count}" if count else name)
    return names


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Yields each relative link of *page*: as written, its file, and its anchor."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = unquote(target).partition("#")
            yield target, (page.parent / path).resolve() if path else page, anchor


def alarms() -> set[str]:
    """Returns the logical ids of all alarms, in the template and in nested ones."""
    nested: list[dict[str, Any]] = [yaml_parse(path.read_text()) for path in ROOT.glob("infra/*.yaml")]
    return {
        name
        for template in [TEMPLATE, *nested]
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def kebab_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page: Path) -> None:
    broken = [
        target
        for target, path, anchor in links(page)
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path))
    ]
    assert not broken


def test_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    code = [content for _, content in blocks(text)] + re.findall(r"`([^`]+)`", prose(text))
    shown = {target for part in code for target in re.findall(r"(?:^|\s)make ([a-z][\w-]*)", part)}
    assert shown <= targets


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_named_paths_exist(page: Path) -> None:
    code = re.findall(r"`([^`\s]+)`", prose(page.read_text()))
    paths = [path for path in code if re.fullmatch(r"(docs|events|functions|infra|layers|tests|tools)/[\w./-]*", path)]
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_shell_blocks_parse(page: Path) -> None:
    for language, content in blocks(page.read_text()):
        if language == "sh":
            done = subprocess.run(["bash", "-n"], input=content, text=True, capture_output=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), content


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_aws_commands_are_marked(page: Path) -> None:
    text = page.read_text()
    if re.search(r"^\s*(aws|sam deploy|sam delete) ", text, re.MULTILINE):
        assert re.search(r"needs?\s+AWS", text, re.IGNORECASE)


@pytest.mark.parametrize("page", WRITTEN, ids=page_id)
def test_wording_avoids_banned_words(page: Path) -> None:
    found = [match[0] for match in BANNED.finditer(prose(page.read_text()))]
    assert not found


def test_every_alarm_has_its_page() -> None:
    pages = {path.stem for path in OPERATIONS.glob("*.md")} - {"index"}
    assert pages == set(map(kebab_case, alarms()))


@pytest.mark.parametrize("page", sorted(set(OPERATIONS.glob("*.md")) - {OPERATIONS / "index.md"}), ids=page_id)
def test_alarm_page_has_its_sections(page: Path) -> None:
    text = page.read_text()
    title = text.splitlines()[0].removeprefix("# ")
    assert kebab_case(title) == page.stem
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    # The state comes first, for people who are about to paste a command.
    assert text.splitlines()[2].startswith("*The commands need AWS")


def test_index_links_every_page() -> None:
    linked = {path for _, path, _ in links(ROOT / "docs/index.md")}
    assert set(PAGES) - {ROOT / "docs/index.md"} <= linked


def test_api_guide_has_no_unknown_endpoint() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `[A-Z]+ /v1", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    functions = {path.parent.name for path in ROOT.glob("functions/*/app.py")}
    assert set(rows) <= functions


def test_architecture_lists_every_function() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    functions = {path.parent.name for path in ROOT.glob("functions/*/app.py")}
    assert functions <= set(rows)


def test_deployment_page_lists_every_parameter_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", (ROOT / "docs/deploy.md").read_text(), re.MULTILINE)
    shown = {name: default.strip("`") for name, default in rows}
    assert shown == {name: str(parameter["Default"]) for name, parameter in TEMPLATE["Parameters"].items()}
