"""What the tests know of `template.yaml`."""

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
TABLE: dict[str, Any] = TEMPLATE["Resources"]["ConversationsTable"]["Properties"]


def create_table(client: "DynamoDBClient", name: str) -> None:
    """Makes the table as CloudFormation would."""
    client.create_table(
        TableName=name,
        BillingMode=TABLE["BillingMode"],
        AttributeDefinitions=TABLE["AttributeDefinitions"],
        KeySchema=TABLE["KeySchema"],
        GlobalSecondaryIndexes=TABLE["GlobalSecondaryIndexes"],
    )
