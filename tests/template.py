"""What the tests know of `template.yaml`: what it says, and what a stack then has."""

import functools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtranslator.yaml_helper import yaml_parse

from tools.lint.transformed import transformed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).parent.parent
TEMPLATE: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text())
FUNCTIONS: dict[str, Any] = {
    name: resource["Properties"]
    for name, resource in TEMPLATE["Resources"].items()
    if resource["Type"] == "AWS::Serverless::Function"
}
TABLES: dict[str, dict[str, Any]] = {
    name: TEMPLATE["Resources"][f"{name.title()}Table"]["Properties"] for name in ("conversations", "messages")
}
_NOTHING = {"Ref": "AWS::NoValue"}


def logical_id(function: str) -> str:
    """`list_conversations` as CloudFormation writes it."""
    return "".join(word.title() for word in function.split("_"))


def create_tables(client: "DynamoDBClient") -> None:
    """Makes the tables as CloudFormation would, under the names that the functions know."""
    for name, table in TABLES.items():
        # Without the throughput's limits, which are parameters.
        parts = ("IndexName", "KeySchema", "Projection")
        indexes: Any = [{part: index[part] for part in parts} for index in table["GlobalSecondaryIndexes"]]
        client.create_table(
            TableName=os.environ[f"{name.upper()}_TABLE_NAME"],
            BillingMode=table["BillingMode"],
            AttributeDefinitions=table["AttributeDefinitions"],
            KeySchema=table["KeySchema"],
            GlobalSecondaryIndexes=indexes,
        )


@functools.cache
def transform(**parameters: str) -> dict[str, Any]:
    """The template after SAM's transform, with these *parameters*."""
    return transformed(parameters)


@functools.cache
def resolved(**parameters: str) -> dict[str, Any]:
    """What a stack with these *parameters* has: the transformed template, with its conditions decided.

    Parameters are their values. References to resources stay, and so do those to pseudo parameters.
    """
    template = transform(**parameters)
    values = {
        name: int(value) if declared["Type"] == "Number" else value
        for name, declared in template["Parameters"].items()
        for value in [parameters.get(name, declared["Default"])]
    }
    holds: dict[str, bool] = {}
    holds.update((name, _evaluated(said, values, holds)) for name, said in template["Conditions"].items())
    assert set(map(type, holds.values())) == {bool}, "a condition has a function that is not known here"
    return {
        section: {
            name: _evaluated(element, values, holds)
            for name, element in template[section].items()
            if "Condition" not in element or holds[element["Condition"]]
        }
        for section in ("Resources", "Outputs")
    }


def _evaluated(part: Any, values: Mapping[str, object], holds: Mapping[str, bool]) -> Any:
    """*part* of a template, given the *values* of the parameters and which conditions hold."""
    evaluated = functools.partial(_evaluated, values=values, holds=holds)
    result = part
    match part:
        case {"Ref": str(name)} if name in values:
            result = values[name]
        case {"Fn::If": [condition, then, otherwise]}:
            result = evaluated(then if holds[condition] else otherwise)
        case {"Fn::Equals": [one, other]}:
            # CloudFormation knows numbers only as text.
            result = str(evaluated(one)) == str(evaluated(other))
        case {"Fn::Not": [condition]}:
            result = not evaluated(condition)
        case {"Fn::Sub": [str(text), dict(names)]}:
            result = _substituted(text, {**values, **evaluated(names)})
        case {"Fn::Sub": str(text)}:
            result = _substituted(text, values)
        case dict():
            found = {name: evaluated(element) for name, element in part.items()}
            result = {name: element for name, element in found.items() if element != _NOTHING}
        case list():
            result = [element for element in map(evaluated, part) if element != _NOTHING]
    return result


def _substituted(text: str, values: Mapping[str, object]) -> Any:
    found = re.sub(r"\$\{(\w+)\}", lambda name: str(values.get(name[1], name[0])), text)
    return {"Fn::Sub": found} if "${" in found else found


def references(part: Any, given: frozenset[str] = frozenset()) -> Iterator[tuple[str, frozenset[str]]]:
    """The names that *part* of a template refers to, each with the conditions under which it does."""
    match part:
        case {"Fn::If": [condition, then, otherwise]}:
            yield from references(then, given | {condition})
            yield from references(otherwise, given)
            return
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), *_]}:
            yield name, given
        case {"Fn::Sub": str(text) | [str(text), *_]}:
            own = part["Fn::Sub"][1] if isinstance(part["Fn::Sub"], list) else {}
            yield from ((name, given) for name in re.findall(r"\$\{([\w:]+)", text) if name not in own)
    if isinstance(part, dict | list):
        for element in part.values() if isinstance(part, dict) else part:
            yield from references(element, given)
