"""Deployments of a stack with data: a failed first one, from the last release and back, tags, and new indexes."""

import io
import json
import subprocess
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
from samtranslator.yaml_helper import yaml_parse

from tests.e2e.test_operations import converse, copy_of_build, resources_of, versions
from tests.stack import Client, Stack, wait_until
from tests.template import NESTED, ROOT
from tools.lint.transformed import TEMPLATE, load
from tools.local import stack as local_stack
from tools.local import users
from tools.local.environment import Failure, emulator_url
from tools.tables import keep_tables, next_change

# 0.1.0. A release is a commit.
LAST_RELEASE = "0448f15bd8e64e426ba78d8c6e85466e96b567e7"
FIRST, UPDATED = "first", "updated"


def of_stack(stack: Stack, name: str) -> list[str]:
    """Returns the names of the tables and user pools of the stack called *name*."""
    tables = stack.aws("dynamodb").list_tables()["TableNames"]
    pools = stack.aws("cognito-idp").list_user_pools(MaxResults=60)["UserPools"]
    return [found for found in (*tables, *(pool["Name"] for pool in pools)) if found.startswith(f"{name}-")]


def is_locked(stack: Stack, name: str) -> set[bool]:
    """Returns whether tables and user pool of the stack called *name* reject their deletion."""
    resources = resources_of(stack, name)
    dynamodb, cognito = stack.aws("dynamodb"), stack.aws("cognito-idp")
    tables = [dynamodb.describe_table(TableName=resources[f"{table}Table"]) for table in ("Conversations", "Messages")]
    pool = cognito.describe_user_pool(UserPoolId=resources["UserPool"])["UserPool"]
    return {*(table["Table"]["DeletionProtectionEnabled"] for table in tables), pool["DeletionProtection"] == "ACTIVE"}


def test_failed_first_deployment_does_not_block_the_second(stack: Stack) -> None:
    # The emulator cannot create a resource of the firewall.
    with pytest.raises(Failure):
        local_stack.apply(stack.home, stack.port, FIRST, ProtectData="true", WebAcl="true")
    assert of_stack(stack, FIRST) == []
    local_stack.apply(stack.home, stack.port, FIRST, ProtectData="true", LogDays="14")
    assert is_locked(stack, FIRST) == {False}
    local_stack.apply(stack.home, stack.port, FIRST, ProtectData="locked")
    assert is_locked(stack, FIRST) == {True}
    (group,) = stack.aws("logs").describe_log_groups(logGroupNamePrefix=resources_of(stack, FIRST)["FunctionLogs"])[
        "logGroups"
    ]
    assert group["retentionInDays"] == 14, "a parameter that is not named keeps its value"
    local_stack.apply(stack.home, stack.port, FIRST, ProtectData="false")
    stack.aws("cloudformation").delete_stack(StackName=FIRST)
    assert wait_until(lambda: of_stack(stack, FIRST) == [])


class UpdatedClient(Client):
    """A client that finds the API again: the emulator replaces one whose definition changes, AWS updates it."""

    def __init__(self, stack: Stack, token: str) -> None:
        """Calls the API of the stack UPDATED."""
        super().__init__(f"{emulator_url(stack.port)}/_aws/execute-api/none/v1", token)
        self._stack = stack

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Sends one request, again if the API is replaced meanwhile."""
        while True:
            response = super().send(method, path, **arguments)
            # Our own responses have another shape.
            if response.status_code != 404 or response.json() != {"message": "Not Found"}:
                return response
            api_id = resources_of(self._stack, UPDATED)["Api"]
            self.api_url = f"{emulator_url(self._stack.port)}/_aws/execute-api/{api_id}/v1"


class Updated(NamedTuple):
    """A stack of the last release, copies of two builds, and two users with clients."""

    last_release: Path
    this_release: Path
    clients: list[UpdatedClient]


@pytest.fixture(scope="module")
def updated(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Updated]:
    """A stack of the last release, which the tests update."""
    project, home = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("last")
    archive = subprocess.run(["git", "archive", LAST_RELEASE], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"git has no commit {LAST_RELEASE}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(project, filter="data")
    local_stack.build(home, project)
    local_stack.apply(home, stack.port, UPDATED)
    tokens = [users.token(stack.port, name, stack_name=UPDATED) for name in users.DEMO_USERS]
    clients = [UpdatedClient(stack, token) for token in tokens]
    yield Updated(home, copy_of_build(stack, tmp_path_factory.mktemp("this")), clients)
    for client in clients:
        client.close()


def with_inbox(template: dict[str, Any]) -> dict[str, Any]:
    """Adds the indexes of the inbox and its view type of the stream to *template*, which has none yet."""
    table = template["Resources"]["ConversationsTable"]["Properties"]
    if len(table["GlobalSecondaryIndexes"]) > 2:
        return template
    for name, owner in (("by_activity", "user_id"), ("by_group_activity", "owner_group")):
        partition = [owner, "is_archived", "is_pinned", "is_muted"]
        keys = dict.fromkeys(partition, "HASH") | dict.fromkeys(("is_unread", "activity"), "RANGE")
        index = {
            "IndexName": name,
            "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["unread_count"]},
        }
        table["GlobalSecondaryIndexes"].append(index)
    for name, kind in (("is_unread", "N"), ("activity", "S")):
        table["AttributeDefinitions"].append({"AttributeName": name, "AttributeType": kind})
    table["StreamSpecification"] = {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    return template


def deployed(stack: Stack) -> dict[str, Any]:
    """Returns the deployed template."""
    cloudformation = stack.aws("cloudformation")
    body = cloudformation.get_template(StackName=UPDATED, TemplateStage="Original")["TemplateBody"]
    return dict(json.loads(json.dumps(yaml_parse(body))))


def content(client: Client) -> list[Any]:
    """Returns all that a user sees."""
    return [client.list(limit=100), client.list(pinned="true", limit=100), client.messages(limit=100)]


@contextmanager
def no_failed_requests(clients: list[UpdatedClient]) -> Iterator[None]:
    """Checks that no request of *clients* fails meanwhile."""
    done, responses = threading.Event(), Counter[tuple[str, int]]()
    threads = [threading.Thread(target=converse, args=(client, done, responses)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield
        count = sum(responses.values())
        assert wait_until(lambda: sum(responses.values()) > count + 20)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert {status for _, status in responses} == {200, 201, 204}, responses


def test_indexes_and_stream_change_one_by_one_in_a_table_with_data(
    stack: Stack, updated: Updated, tmp_path: Path
) -> None:
    (tmp_path / "build").mkdir()
    table = {"TableName": resources_of(stack, UPDATED)["ConversationsTable"]}
    client, dynamodb = updated.clients[0], stack.aws("dynamodb")
    conversation = client.create(contact_id="harry", group_id="friends")
    client.send_message(conversation)
    values = {":unread": {"N": "1"}, ":activity": {"S": f"{conversation['created_at']}.{conversation['id']}"}}
    dynamodb.update_item(
        **table,
        Key={"user_id": {"S": client.user_id}, "id": {"S": conversation["id"]}},
        UpdateExpression="SET is_unread = :unread, activity = :activity",
        ExpressionAttributeValues=values,
    )
    before, changes = versions(stack, UPDATED), []
    with no_failed_requests(updated.clients):
        while change := next_change(template := deployed(stack), with_inbox(load(TEMPLATE))):
            changes.append(change.partition(": ")[2])
            for application in NESTED.keys() & template["Resources"].keys():
                # On AWS, sam accepts the URL that is there; it does not accept one of the emulator.
                location = stack.home / "build" / application / "template.yaml"
                template["Resources"][application]["Properties"]["Location"] = str(location)
            (tmp_path / "build/template.yaml").write_text(json.dumps(template))
            local_stack.apply(tmp_path, stack.port, UPDATED)
    assert changes == ["new index by_activity", "new index by_group_activity", "stream NEW_AND_OLD_IMAGES"]
    assert versions(stack, UPDATED) == before
    for index in ("by_activity", "by_group_activity"):
        # Rows without the new attributes are in neither.
        assert [row["id"]["S"] for row in dynamodb.scan(**table, IndexName=index)["Items"]] == [conversation["id"]]
    assert dynamodb.describe_table(**table)["Table"]["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert client.send("DELETE", f"/conversations/{conversation['id']}").status_code == 204
    messages = resources_of(stack, UPDATED)["MessagesTable"]
    assert wait_until(lambda: conversation["id"] not in str(dynamodb.scan(TableName=messages)))


def update(stack: Stack, updated: Updated, home: Path) -> None:
    """Deploys the build in *home* while users send requests, and checks that they keep their data."""
    file = home / "build/template.yaml"
    # The emulator would delete indexes that the release does not have yet, or no longer; DynamoDB only one at a time.
    keep_tables(deployed(stack), template := load(file))
    # Cognito cannot set it in the user pool of a release that did not have it (docs/decisions.md).
    template["Resources"]["UserPool"]["Properties"].pop("UsernameConfiguration", None)
    file.write_text(json.dumps(template))
    before, found = versions(stack, UPDATED), content(updated.clients[0])
    with no_failed_requests(updated.clients):
        # A role loses its grants before the alias leaves the version that needs them (docs/deploy.md).
        local_stack.apply(home, stack.port, UPDATED, Delivery="external")
    assert content(updated.clients[0]) == found != []
    after = versions(stack, UPDATED)
    # One of the releases may have more functions.
    assert all(after[function] > before[function] for function in before.keys() & after.keys())


def receive(stack: Stack, client: Client, conversation: dict[str, Any], text: str) -> None:
    """Delivers a message from marv to the conversation."""
    detail = {"user_id": client.user_id, "conversation_id": conversation["id"], "contact_id": "marv", "message": text}
    bus = local_stack.outputs(stack.port, UPDATED)["EventBusName"]
    received = {"Source": "tests", "DetailType": "message.received", "EventBusName": bus, "Detail": json.dumps(detail)}
    assert stack.aws("events").put_events(Entries=[received])["FailedEntryCount"] == 0
    assert wait_until(lambda: text in str(client.messages(conversation_id=conversation["id"])))


def check_inbox(client: Client) -> None:
    """Checks every entry of the inbox against its conversation and messages."""
    entries = client.send("GET", "/inbox?limit=100").json()["data"]
    assert entries == sorted(entries, key=lambda entry: entry["position"], reverse=True)
    conversations = {conversation["id"]: conversation for conversation in client.list(limit=100)["data"]}
    assert {entry["conversation"]["id"]: entry["conversation"] for entry in entries} == conversations
    for entry in entries:
        messages = client.messages(conversation_id=entry["conversation"]["id"], limit=100)["data"]
        unread = [message for message in messages if message["contact"] and message["id"] > (entry["read_up_to"] or "")]
        assert entry["unread_count"] == len(unread)
        assert (entry["last_message"] or {}).get("id") == (messages[0]["id"] if messages else None)


def test_update_from_the_last_release_keeps_data_and_serves(stack: Stack, updated: Updated) -> None:
    client = updated.clients[0]
    pinned = client.update(client.create(contact_id="harry", group_id="friends"), is_pinned=True)
    client.send_message(pinned, "of the last release")
    receive(stack, client, pinned, "not opened yet")
    client.update(pinned, last_opened_at=1)
    update(stack, updated, updated.this_release)


def test_inbox_is_ready_when_the_rows_of_the_last_release_are_prepared(stack: Stack, updated: Updated) -> None:
    client, resources = updated.clients[0], resources_of(stack, UPDATED)
    (pinned,) = client.list(pinned="true")["data"]
    receive(stack, client, pinned, "of this release")
    stack.aws("lambda").invoke(FunctionName=resources["SweepInbox"], Payload=b"{}")
    response = client.send("GET", "/inbox")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
    with no_failed_requests(updated.clients):
        # The hour in which versions of the last release may run.
        stack.aws("dynamodb").update_item(
            TableName=resources["ConversationsTable"],
            Key={"user_id": {"S": "inbox#preparation"}, "id": {"S": "progress"}},
            UpdateExpression="SET started_at = started_at - :hour",
            ExpressionAttributeValues={":hour": {"N": "3600"}},
        )
        invoked = stack.aws("lambda").invoke(FunctionName=resources["SweepInbox"], Payload=b"{}")
        assert "FunctionError" not in invoked
        assert wait_until(lambda: client.send("GET", "/inbox").status_code == 200)
    check_inbox(client)
    (entry,) = client.send("GET", "/inbox?pinned=true").json()["data"]
    assert (entry["unread_count"], entry["last_message"]["message"]) == (2, "of this release")


def test_tags_and_reservations_publish_no_version(stack: Stack, updated: Updated) -> None:
    before = versions(stack, UPDATED)
    # Lambda rejects a new version of an unchanged function. The emulator does not, and ignores reservations.
    local_stack.apply(
        updated.this_release, stack.port, UPDATED, EventConcurrency="50", Delivery="external", tags="team=chat"
    )
    function = stack.aws("lambda").get_function(FunctionName=resources_of(stack, UPDATED)["ReceiveMessage"])
    assert function["Tags"]["team"] == "chat"
    assert versions(stack, UPDATED) == before


def test_taking_a_release_back_keeps_data_and_serves(stack: Stack, updated: Updated) -> None:
    client = updated.clients[0]
    client.send_message(client.create(contact_id="marv"), "of this release")
    update(stack, updated, updated.last_release)
    table = stack.aws("dynamodb").describe_table(TableName=resources_of(stack, UPDATED)["ConversationsTable"])["Table"]
    assert {"by_activity", "by_group_activity"} < {index["IndexName"] for index in table["GlobalSecondaryIndexes"]}
