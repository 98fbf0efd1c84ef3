"""Writes the next change of tables that must be deployed alone: `python -m tools.tables STACK FILE`.

DynamoDB creates one index at a time, and a new view type replaces a stream. FILE becomes the deployed template with one
such change of this checkout's template, and the code that is deployed. The exit status is 1 if no change is left.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from samtranslator.yaml_helper import yaml_parse

from tools.lint.transformed import TEMPLATE, load

_TABLE = "AWS::DynamoDB::Table"


def next_change(deployed: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """Makes one change of *wanted* in *deployed*, and returns its description, or None if none is left."""
    for name, resource in wanted["Resources"].items():
        if resource["Type"] != _TABLE or name not in deployed["Resources"]:
            continue
        old, new = deployed["Resources"][name]["Properties"], resource["Properties"]
        indexes = old.setdefault("GlobalSecondaryIndexes", [])
        existing = {index["IndexName"] for index in indexes}
        for index in new.get("GlobalSecondaryIndexes", []):
            if index["IndexName"] not in existing:
                indexes.append(index)
                # CloudFormation rejects attributes that are not a key.
                keys = {key["AttributeName"] for part in (old, *indexes) for key in part["KeySchema"]}
                old["AttributeDefinitions"] = [
                    attribute for attribute in new["AttributeDefinitions"] if attribute["AttributeName"] in keys
                ]
                return f"{name}: new index {index['IndexName']}"
        streams = [properties.get("StreamSpecification", {}).get("StreamViewType") for properties in (old, new)]
        if all(streams) and streams[0] != streams[1]:
            old["StreamSpecification"] = new["StreamSpecification"]
            return f"{name}: stream {streams[1]}"
    return None


def _await_active(dynamodb: Any, table: str) -> None:  # noqa: ANN401 - boto3 creates the class at run time
    """Returns when *table* and its indexes are active. Until then DynamoDB rejects the next change."""
    while True:
        found = dynamodb.describe_table(TableName=table)["Table"]
        # The emulator omits the status of indexes that were created with the table.
        indexes = [index.get("IndexStatus", "ACTIVE") for index in found.get("GlobalSecondaryIndexes", [])]
        states = [found["TableStatus"], *indexes]
        if set(states) == {"ACTIVE"}:
            return
        print(f"{table} is not ready yet: {', '.join(states)}", file=sys.stderr)
        time.sleep(15)


def main(stack: str, file: str) -> int:
    """Returns 0 if there is a change to deploy."""
    cloudformation = boto3.client("cloudformation")
    for resource in cloudformation.list_stack_resources(StackName=stack)["StackResourceSummaries"]:
        if resource["ResourceType"] == _TABLE:
            _await_active(boto3.client("dynamodb"), resource["PhysicalResourceId"])
    body = cloudformation.get_template(StackName=stack, TemplateStage="Original")["TemplateBody"]
    template = yaml_parse(body) if isinstance(body, str) else body
    change = next_change(template, load(TEMPLATE))
    print(change or "The tables have all indexes and streams of the template.")
    Path(file).write_text(json.dumps(template, indent=2))
    return int(change is None)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
