"""The changes of tables that must be deployed alone."""

import copy
from typing import Any

from tools.tables import keep_tables, next_change


def index(name: str, attribute: str) -> dict[str, Any]:
    return {"IndexName": name, "KeySchema": [{"AttributeName": attribute, "KeyType": "HASH"}]}


def table(*indexes: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """Returns a table with a key `id`."""
    schema = [{"AttributeName": "id", "KeyType": "HASH"}]
    names = [key["AttributeName"] for part in ({"KeySchema": schema}, *indexes) for key in part["KeySchema"]]
    properties |= {"KeySchema": schema, "GlobalSecondaryIndexes": list(indexes)}
    properties["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": "S"} for name in names]
    return {"Type": "AWS::DynamoDB::Table", "Properties": properties}


def template(**tables: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy({"Resources": tables | {"Api": {"Type": "AWS::Serverless::Api"}}})


A, B, C = (index(name, name) for name in "abc")
OLD, NEW = ({"StreamSpecification": {"StreamViewType": kind}} for kind in ("OLD_IMAGE", "NEW_IMAGE"))


def test_next_change_creates_one_index_at_a_time_then_changes_the_stream() -> None:
    deployed = template(One=table(A, **OLD), Two=table())
    wanted = template(One=table(A, B, C, **NEW), Two=table(A))
    assert next_change(deployed, wanted) == "One: new index b"
    # CloudFormation rejects a definition that no key uses.
    assert deployed == template(One=table(A, B, **OLD), Two=table())
    assert next_change(deployed, wanted) == "One: new index c"
    assert next_change(deployed, wanted) == "One: stream NEW_IMAGE"
    assert next_change(deployed, wanted) == "Two: new index a"
    assert next_change(deployed, wanted) is None
    assert deployed == wanted


def test_next_change_leaves_all_else_to_the_release() -> None:
    deployed = template(One=table(A), Two=table(), Three=table(**OLD))
    wanted = template(One=table(), Two=table(**NEW), Three=table(), Four=table(B))
    assert next_change(deployed, wanted) is None
    assert deployed == template(One=table(A), Two=table(), Three=table(**OLD))


def test_keep_tables_keeps_what_is_deployed() -> None:
    built = template(One=table(BillingMode="PROVISIONED", **OLD), Two=table(C))
    # The older release does not have the third table.
    keep_tables(template(One=table(A, B, **NEW), Two=table(), Three=table(A)), built)
    assert built == template(One=table(A, B, BillingMode="PROVISIONED", **NEW), Two=table())
