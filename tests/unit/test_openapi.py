"""The OpenAPI document: valid, up to date, and consistent with the template."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from coherent import errors
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.handlers import FORM, JSON, USER_ENDPOINTS
from tests.template import FUNCTIONS, ROOT, TEMPLATE, logical_id
from tools.openapi import FILE
from tools.openapi.document import document
from tools.openapi.routes import ROUTES
from tools.openapi.schemas import reference

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
}


def objects(part: Any) -> Iterator[dict[str, Any]]:
    """Yields the objects in *part* of the document, and those that it refers to."""
    if isinstance(part, dict):
        yield part
        if "$ref" in part:
            yield from objects(SCHEMAS[part["$ref"].rpartition("/")[2]])
    if isinstance(part, dict | list):
        for element in part.values() if isinstance(part, dict) else part:
            yield from objects(element)


def examples(media: dict[str, Any]) -> list[Any]:
    """Returns the examples of a body."""
    return [example["value"] for example in media.get("examples", {"": {"value": media.get("example")}}).values()]


def is_valid(value: object, schema: dict[str, Any]) -> bool:
    """Returns whether *value* matches *schema*, in which references are those of the document."""
    return jsonschema_rs.is_valid(schema | {"components": DOCUMENT["components"]}, value)


def test_committed_document_is_the_generated_one() -> None:
    assert json.loads(FILE.read_text()) == DOCUMENT, "run `make openapi`"


def test_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.endpoint)
def test_routes_match_the_template(route: Any) -> None:
    deployed = FUNCTIONS[logical_id(route.endpoint)]["Events"]["Http"]["Properties"]
    assert (route.method.upper(), route.path) == (deployed["Method"], deployed["Path"])
    assert [route.scope] == deployed["Auth"]["AuthorizationScopes"]


def test_every_user_endpoint_has_a_route() -> None:
    assert sorted(route.endpoint for route in ROUTES) == USER_ENDPOINTS


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.endpoint)
def test_oauth2_and_bearer_tokens_are_accepted(route: Any) -> None:
    operation = DOCUMENT["paths"][route.path][route.method]
    assert operation["security"] == [{"oauth2": [route.scope]}, {"bearer": []}]
    assert f"`{route.scope}`" in operation["description"]


def test_placeholder_domains_cannot_be_registered() -> None:
    (server,) = DOCUMENT["servers"]
    defaults = {name: variable["default"] for name, variable in server["variables"].items()}
    assert server["url"].format_map(defaults) == "https://api.example.com/v1"
    flows = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]
    urls = {url for flow in flows.values() for name, url in flow.items() if name.endswith("Url")}
    assert urls == {"https://auth.example.com/oauth2/authorize", "https://auth.example.com/oauth2/token"}


def test_scopes_match_the_user_pool() -> None:
    names = ("ResourceServer", "MessagesResourceServer", "WebhooksResourceServer")
    scopes = {
        f"{server['Identifier']}/{scope['ScopeName']}": scope["ScopeDescription"]
        for server in (TEMPLATE["Resources"][name]["Properties"] for name in names)
        for scope in server["Scopes"]
    }
    flows = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]
    # A user who signs in cannot get the scope of the operator.
    of_users = {name: text for name, text in scopes.items() if name != "webhooks/write"}
    assert {name: flow["scopes"] for name, flow in flows.items()} == {
        "authorizationCode": of_users,
        "clientCredentials": scopes,
    }


def test_schemas_have_limits() -> None:
    parameters = {given["name"]: given["schema"] for given in DOCUMENT["paths"]["/conversations"]["get"]["parameters"]}
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10, "examples": [10]}
    assert parameters["muted"] == {"type": "boolean", "examples": [False]}
    (copies,) = (given for given in OPERATIONS["delete_message"]["parameters"] if given["in"] == "query")
    assert copies["schema"] == {"type": "string", "enum": ["everyone"], "examples": ["everyone"]}
    assert SCHEMAS["InboxEntry"]["properties"]["unread_count"].items() >= {"minimum": 0, "maximum": 1000}.items()


@pytest.mark.parametrize("name", SCHEMAS)
def test_times_have_64_bits(name: str) -> None:
    for attribute, schema in SCHEMAS[name]["properties"].items():
        if attribute.endswith("_at") or attribute == "muted_until":
            assert schema["type"] in ("integer", ["integer", "null"])
            assert (schema["format"], schema["minimum"], schema["maximum"]) == ("int64", 0, 253_402_300_799)


def test_requests_are_named_schemas() -> None:
    named = {
        (media_type, content["schema"]["$ref"].rpartition("/")[2])
        for operation in OPERATIONS.values()
        for media_type, content in operation.get("requestBody", {"content": {}})["content"].items()
    }
    requests = [
        *("CreateConversation", "UpdateConversation", "CreateMessage", "UpdateMessage", "UpdateInboxEntry"),
        *("CreateWebhook", "UpdateWebhook", "CreateRedelivery"),
    ]
    assert named == {(JSON, name) for name in requests} | {(FORM, f"{name}Form") for name in requests}


def test_request_schemas_need_no_alternatives() -> None:
    # Typed clients drop attributes where a schema has both `anyOf` and `properties`.
    for schema in objects(DOCUMENT):
        assert "properties" not in schema or not schema.keys() & {"anyOf", "oneOf", "allOf"}
    create = SCHEMAS["CreateConversation"]
    assert list(create["properties"]) == ["contact_id", "group_id", "distinct"]
    assert (create["minProperties"], create.get("required")) == (1, None)


def test_json_schemas_exclude_form_only_values() -> None:
    assert is_valid({"archived_at": None}, reference("UpdateConversation"))
    assert not is_valid({"is_pinned": "true"}, reference("UpdateConversation"))
    assert not is_valid({"attachments[]": ["a"]}, reference("UpdateMessage"))
    # openapi-typescript accepts what either of the two schemas allows.
    for name in ("UpdateConversation", "UpdateConversationForm"):
        assert not is_valid({"archived_at": ""}, reference(name))


def test_responses_allow_new_attributes() -> None:
    for operation in OPERATIONS.values():
        for response in operation["responses"].values():
            assert all("additionalProperties" not in schema for schema in objects(response))


@pytest.mark.parametrize("name", SCHEMAS)
def test_attributes_have_meanings_and_valid_examples(name: str) -> None:
    assert SCHEMAS[name]["description"].endswith(".")
    for schema in SCHEMAS[name]["properties"].values():
        assert len(schema["description"].split()) > 3
        assert schema["description"].endswith(".")
        (example,) = schema["examples"]
        assert is_valid(example, schema)


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_operations_have_meanings_and_valid_examples(endpoint: str) -> None:
    operation = OPERATIONS[endpoint]
    (tag,) = (tag for tag in DOCUMENT["tags"] if tag["name"] in operation["tags"])
    responses = operation["responses"].values()
    headers = [header for response in responses for header in response["headers"].values()]
    for part in (tag, operation, *operation["parameters"], *responses, *headers):
        assert part["description"].endswith(".")
    for parameter in operation["parameters"]:
        (example,) = parameter["schema"]["examples"]
        assert is_valid(example, parameter["schema"])
    for content in (operation.get("requestBody", {}), *responses):
        for media in content.get("content", {}).values():
            for example in examples(media):
                assert is_valid(example, media["schema"])


@pytest.mark.parametrize("endpoint", USER_ENDPOINTS)
def test_error_examples_fit_their_call(endpoint: str) -> None:
    operation = OPERATIONS[endpoint]
    names = {parameter["name"] for parameter in operation["parameters"]} | {"body", "Content-Type", "Authorization"}
    names |= {name for schema in objects(operation.get("requestBody")) for name in schema.get("properties", {})}
    errors = {status: response for status, response in operation["responses"].items() if status >= "400"}
    assert {"401", "403", "429", "500", "503"} < errors.keys()
    for status, response in errors.items():
        for error in examples(response["content"][JSON]):
            assert error["type"] == ("invalid_request" if status < "500" else "api_error")
            assert error["documentation_url"].endswith(error["type"])
            parameters = error["message"].rpartition(": ")[0].partition(":")[0]
            assert names >= set(filter(None, parameters.split(", ")))


@pytest.mark.parametrize("endpoint", OPERATIONS)
def test_idempotency_key_is_shown_where_it_is_remembered(endpoint: str) -> None:
    names = {parameter["name"] for parameter in OPERATIONS[endpoint].get("parameters", [])}
    is_remembered = "Idempotent-Replayed" in OPERATIONS[endpoint]["responses"].get("201", {}).get("headers", {})
    assert ("Idempotency-Key" in names) == is_remembered


def test_message_of_a_contact_has_an_example_of_its_own() -> None:
    content = OPERATIONS["update_message"]["responses"]["403"]["content"][JSON]
    assert [example["message"] for example in examples(content)] == [
        "message: only the sender of a message can change this",
        "The firewall blocked this request",
    ]


@pytest.mark.parametrize("endpoint", ["create_message", "update_message"])
def test_limit_of_a_user_has_an_example_of_its_own(endpoint: str) -> None:
    response = OPERATIONS[endpoint]["responses"]["429"]
    assert [example["message"].partition(";")[0] for example in examples(response["content"][JSON])] == [
        "Too many requests",
        "At most 120 messages, edits and reactions are accepted in a clock minute",
    ]
    assert "Retry-After" in response["headers"]


@pytest.mark.parametrize("endpoint", ["list_inbox", "retrieve_inbox_entry", "update_inbox_entry", "count_unread"])
def test_inbox_that_is_not_ready_has_an_example_of_its_own(endpoint: str) -> None:
    content = OPERATIONS[endpoint]["responses"]["503"]["content"][JSON]
    assert [example["message"] for example in examples(content)] == [
        str(errors.Unavailable()),
        str(errors.NotPrepared()),
    ]


def test_inbox_is_paged_by_positions() -> None:
    (link,) = (
        header["example"]
        for name, header in OPERATIONS["list_inbox"]["responses"]["200"]["headers"].items()
        if name == "Link"
    )
    cursors = {given["name"]: given["schema"] for given in OPERATIONS["list_inbox"]["parameters"]}
    (position,) = cursors["starting_after"]["examples"]
    assert link == f'<https://api.example.com/v1/inbox?limit=10&starting_after={position}>; rel="next"'
    assert SCHEMAS["InboxEntry"]["properties"]["position"]["examples"] == [position]


def test_document_is_generated_without_environment_variables(tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT / "layers/shared")}
    command = [sys.executable, "-m", "tools.openapi", str(tmp_path / "openapi.json")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "openapi.json").read_bytes() == FILE.read_bytes()


def test_document_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert DOCUMENT["info"]["version"] == project["version"]
