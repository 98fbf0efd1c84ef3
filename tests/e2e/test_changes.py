"""The feed of a user and the events of all users, in the deployed stack."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.stack import Client, Stack, error, wait_until
from tests.template import ROOT
from tools.local.stack import NAME

_CONSUMERS = "consumers"


def page(client: Client, **query: object) -> dict[str, Any]:
    """Returns a page of the feed."""
    response = client.send("GET", "/changes", params=query)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def changes(client: Client, after: int) -> list[dict[str, Any]]:
    """Returns the changes after a number, following the links."""
    found: list[dict[str, Any]] = []
    url: str | None = f"/changes?starting_after={after}&limit=2"
    while url:
        response = client.send("GET", url)
        found += response.json()["data"]
        url = response.links["next"]["url"] if "next" in response.links else None
    return found


def test_feed_follows_what_the_user_does(kevin: Client, harry: Client) -> None:
    head = page(kevin)["head"]
    conversation = kevin.create(contact_id="harry")
    message = kevin.send_message(conversation)
    kevin.update(conversation, is_pinned=True)
    kevin.send("DELETE", f"/conversations/{conversation['id']}")
    harry.create(contact_id="kevin")

    def is_complete() -> bool:
        deleted = {change["id"] for change in changes(kevin, head) if change["object"] is None}
        return deleted == {conversation["id"], message["id"]}

    assert wait_until(is_complete)
    found = changes(kevin, head)
    assert [change["number"] for change in found] == list(range(head + 1, head + 1 + len(found)))
    by_version = {(change["id"], change["version"]): change for change in found}
    types = [change["type"] for (id, _), change in sorted(by_version.items()) if id == conversation["id"]]
    assert types == ["conversation.created", *["conversation.updated"] * 2, "conversation.deleted"]
    assert by_version[conversation["id"], 1]["object"] == conversation
    assert by_version[message["id"], 1]["object"] == message
    assert page(kevin)["head"] == found[-1]["number"]
    beyond = found[-1]["number"] + 1
    response = kevin.send("GET", "/changes", params={"starting_after": beyond})
    assert error(response) == (400, f"starting_after: must be at most the head, {beyond - 1}")


@pytest.fixture
def search_queue(stack: Stack) -> Iterator[str]:
    """The URL of the queue in the stack of consumers that docs/events.md shows."""
    (template,) = re.findall(r"```yaml\n(AWSTemplate.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL)
    consumers = yaml_parse(template)
    # The emulator has no archives.
    del consumers["Resources"]["Archive"]
    cloudformation: Any = stack.aws("cloudformation")
    given = {"Bus": stack.outputs()["EventBusName"], "Source": NAME}
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    cloudformation.create_stack(
        StackName=_CONSUMERS,
        TemplateBody=json.dumps(consumers),
        Parameters=parameters,
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=_CONSUMERS, WaiterConfig={"Delay": 1})
    queue = cloudformation.describe_stack_resource(StackName=_CONSUMERS, LogicalResourceId="SearchQueue")
    yield queue["StackResourceDetail"]["PhysicalResourceId"]
    cloudformation.delete_stack(StackName=_CONSUMERS)


def test_rule_of_the_docs_feeds_a_queue(stack: Stack, kevin: Client, search_queue: str) -> None:
    events: list[Any] = []
    message = kevin.send_message(kevin.create(contact_id="harry"), "Merry Christmas \N{CHRISTMAS TREE}")
    kevin.send("DELETE", f"/messages/{message['id']}")

    def are_there() -> bool:
        received = stack.aws("sqs").receive_message(QueueUrl=search_queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for each in received.get("Messages", []):
            events.append(json.loads(each["Body"]))
            stack.aws("sqs").delete_message(QueueUrl=search_queue, ReceiptHandle=each["ReceiptHandle"])
        return {"message.created", "message.deleted"} <= {event["detail-type"] for event in events}

    assert wait_until(are_there), events
    # The queue gets no events of conversations.
    assert {event["source"] for event in events} == {NAME}
    details = {event["detail-type"]: event["detail"] for event in events}
    assert details.keys() == {"message.created", "message.deleted"}
    assert [details[type]["version"] for type in ("message.created", "message.deleted")] == [1, 2]
    for detail in details.values():
        assert (detail["user_id"], detail["resource_id"]) == (kevin.user_id, message["id"])
        assert detail["payload"] == {"object": message}
