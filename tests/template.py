"""What the tests know of `template.yaml`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtranslator.yaml_helper import yaml_parse

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


def logical_id(function: str) -> str:
    """`list_conversations` as CloudFormation writes it."""
    return "".join(word.title() for word in function.split("_"))


def create_tables(client: "DynamoDBClient") -> None:
    """Makes the tables as CloudFormation would, under the names that the functions know."""
    for name, table in TABLES.items():
        client.create_table(
            TableName=os.environ[f"{name.upper()}_TABLE_NAME"],
            BillingMode=table["BillingMode"],
            AttributeDefinitions=table["AttributeDefinitions"],
            KeySchema=table["KeySchema"],
            GlobalSecondaryIndexes=[
                {name: index[name] for name in ("IndexName", "KeySchema", "Projection")}  # type: ignore[misc]
                for index in table["GlobalSecondaryIndexes"]
            ],
        )
