"""The OpenAPI document: valid, up to date, and consistent with the template."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.handlers import USER_ENDPOINTS
from tests.template import FUNCTIONS, ROOT, TEMPLATE, logical_id
from tools.openapi import FILE
from tools.openapi.document import document
from tools.openapi.routes import ROUTES

DOCUMENT = document()


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
    assert operation["security"] == [{"oauth2": [route.scope]}, {"bearer": [route.scope]}]


def test_server_url_is_relative_to_the_document() -> None:
    (server,) = DOCUMENT["servers"]
    assert urljoin("https://api.example.com/chat/docs/openapi.json", server["url"]) == "https://api.example.com/chat/"


def test_scopes_match_the_user_pool() -> None:
    servers = [TEMPLATE["Resources"][name]["Properties"] for name in ("ResourceServer", "MessagesResourceServer")]
    scopes = {
        f"{server['Identifier']}/{scope['ScopeName']}": scope["ScopeDescription"]
        for server in servers
        for scope in server["Scopes"]
    }
    flows = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]
    assert [flow["scopes"] for flow in flows.values()] == [scopes, scopes]


def test_schemas_have_limits() -> None:
    parameters = {given["name"]: given["schema"] for given in DOCUMENT["paths"]["/conversations"]["get"]["parameters"]}
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    assert parameters["muted"] == {"type": "boolean"}
    content = DOCUMENT["paths"]["/conversations/{id}"]["put"]["requestBody"]["content"]
    seconds = {"type": "integer", "minimum": 0, "exclusiveMaximum": 253_402_300_800}
    assert content["application/json"]["schema"]["properties"]["archived_at"]["anyOf"] == [seconds, {"type": "null"}]


def test_document_is_generated_without_environment_variables(tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT / "layers/shared")}
    command = [sys.executable, "-m", "tools.openapi", str(tmp_path / "openapi.json")]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert (tmp_path / "openapi.json").read_bytes() == FILE.read_bytes()


def test_document_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert DOCUMENT["info"]["version"] == project["version"]
