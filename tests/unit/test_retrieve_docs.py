"""GET /v1/docs and the files of the page."""

import json
import re
from typing import Any

import pytest

from tests.handlers import Response, event, invoke
from tools.openapi import FILE

PAGE = {None: "text/html; charset=utf-8"}
FILES = {
    "openapi.json": "application/json",
    "start.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui.js": "text/javascript; charset=utf-8",
}
ASSETS: dict[str | None, str] = PAGE | FILES


def get(asset: str | None = None, headers: dict[str, str] | None = None, **more: Any) -> Response:
    request = event("retrieve_docs") | more
    if asset is not None:
        request |= {"resource": "/docs/{asset}", "path": f"/docs/{asset}", "pathParameters": {"asset": asset}}
    for name, value in (headers or {}).items():
        request["multiValueHeaders"][name] = [value]
    return invoke("retrieve_docs", request)


@pytest.mark.parametrize("asset", ASSETS)
def test_asset_is_returned_with_its_media_type(asset: str | None) -> None:
    response = get(asset)
    assert response.status == 200
    assert response.body
    assert response.headers["Content-Type"] == ASSETS[asset]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Request-Id"] == event("retrieve_docs")["requestContext"]["requestId"]


def test_page_loads_exactly_its_own_files() -> None:
    urls = re.findall(r'(?:src|href|url)[=:] ?"([^"]*)"', get().body + get("start.js").body)
    assert sorted({url for url in urls if url != "data:,"}) == [f"docs/{name}" for name in FILES]


def test_content_security_policy_allows_own_files_only() -> None:
    assert get().headers["Content-Security-Policy"] == (
        "default-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def test_page_fits_a_phone() -> None:
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in get().body


def test_openapi_json_is_the_committed_one_without_a_sign_in_url() -> None:
    assert get("openapi.json").body == json.loads(FILE.read_text())


def test_openapi_json_has_the_sign_in_url_of_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    etags = {get("openapi.json").headers["ETag"]}
    for url in ("https://one.auth.example.net", "https://two.auth.example.net"):
        monkeypatch.setenv("SIGN_IN_URL", url)
        response = get("openapi.json")
        flows = response.body["components"]["securitySchemes"]["oauth2"]["flows"]
        assert flows["authorizationCode"]["authorizationUrl"] == f"{url}/oauth2/authorize"
        assert {flow["tokenUrl"] for flow in flows.values()} == {f"{url}/oauth2/token"}
        assert "auth.example.com" not in json.dumps(response.body)
        etags.add(response.headers["ETag"])
    assert len(etags) == 3


@pytest.mark.parametrize("asset", ASSETS)
def test_matching_if_none_match_returns_304(asset: str | None) -> None:
    first = get(asset)
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = get(asset, {"If-None-Match": f"W/{first.headers['ETag']}"})
    assert (again.status, again.body) == (304, None)
    assert again.headers["ETag"] == first.headers["ETag"]
    assert get(asset, {"If-None-Match": '"1"'}).status == 200


def test_assets_have_different_etags() -> None:
    assert len({get(asset).headers["ETag"] for asset in ASSETS}) == len(ASSETS)


@pytest.mark.parametrize(
    "asset",
    ["", "nothing", "start.js/", "app.py", "page.html", "../app.py", "..", "/etc/passwd", "start.js\0", "STYLE.CSS"],
)
def test_other_asset_returns_404(asset: str) -> None:
    response = get(asset)
    assert (response.status, response.message) == (404, "There is no such path, or not with this method")
    assert response.headers["Content-Type"] == "application/json"


def test_trailing_slash_returns_404() -> None:
    assert get(path="/docs/").status == 404


def test_query_is_rejected() -> None:
    response = get(multiValueQueryStringParameters={"format": ["json"]})
    assert (response.status, response.message) == (400, "format: unknown; this call takes no query")


def test_body_is_rejected() -> None:
    response = get(body="x")
    assert (response.status, response.message) == (400, "body: must be empty; this call takes none")
