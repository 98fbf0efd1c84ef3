"""Changes of tables that must be deployed alone: DynamoDB creates or deletes one index at a time.

`python -m tools.tables next STACK FILE` writes the deployed template, and so its code, with the next new index or view
type of this checkout's template. The exit status is 1 if none is left. `keep` gives FILE, which `sam build` has written
for an earlier release, the indexes and streams that are deployed.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from samtranslator.yaml_helper import yaml_parse

from tools.lint.transformed import TEMPLATE, load

_TABLE = "AWS::DynamoDB::Table"
_KEPT = ("AttributeDefinitions", "GlobalSecondaryIndexes", "StreamSpecification")


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


def keep_tables(deployed: dict[str, Any], built: dict[str, Any]) -> None:
    """Gives the tables of *built* the indexes and the stream that they have in *deployed*.

    A table that an older release does not have is deleted or retained, as its DeletionPolicy says.
    """
    for name, resource in deployed["Resources"].items():
        if resource["Type"] == _TABLE and name in built["Resources"]:
            kept = {part: resource["Properties"][part] for part in _KEPT if part in resource["Properties"]}
            built["Resources"][name]["Properties"] |= kept


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


def main() -> int:
    """Returns 1 if no change is left."""
    parser = argparse.ArgumentParser(prog="python -m tools.tables", description=__doc__)
    parser.add_argument("command", choices=["next", "keep"])
    parser.add_argument("stack")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    cloudformation = boto3.client("cloudformation")
    for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=options.stack):
        for resource in page["StackResourceSummaries"]:
            if resource["ResourceType"] == _TABLE:
                _await_active(boto3.client("dynamodb"), resource["PhysicalResourceId"])
    body = cloudformation.get_template(StackName=options.stack, TemplateStage="Original")["TemplateBody"]
    deployed = yaml_parse(body) if isinstance(body, str) else body
    if options.command == "keep":
        template = load(options.file)
        keep_tables(deployed, template)
    else:
        template = deployed
        change = next_change(template, load(TEMPLATE))
        print(change or "The tables have all indexes and streams of the template.")
        if change is None:
            return 1
    options.file.write_text(json.dumps(template, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
