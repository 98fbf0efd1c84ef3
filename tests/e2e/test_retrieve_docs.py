"""The reference page: over HTTP, and in Chromium if it is installed."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import requests
from playwright.sync_api import Page, Request, Route, expect, sync_playwright

from tests.stack import Client, Stack, wait_until
from tools.local import users
from tools.openapi import FILE

OPERATIONS = [
    (method.upper(), path, operation["operationId"])
    for path, methods in json.loads(FILE.read_text())["paths"].items()
    for method, operation in methods.items()
]
# Media type and example of each body, by operation.
EXAMPLES: dict[str, dict[str, dict[str, Any]]] = {
    operation["operationId"]: {
        media_type: content["example"] for media_type, content in operation["requestBody"]["content"].items()
    }
    for methods in json.loads(FILE.read_text())["paths"].values()
    for operation in methods.values()
    if "requestBody" in operation
}
ABSENT_ID = "xgQQXg3hrtjh7AvZ"
CHROMIUM = shutil.which("chromium")
BROWSER_OPTIONS = [
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]

in_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed (on Debian: apt-get install chromium)"
)


def get(url: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, headers=headers, timeout=30)


def test_page_and_its_files_need_no_token(stack: Stack) -> None:
    page = get(stack.docs_url)
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    urls = [urljoin(stack.docs_url, url) for url in re.findall(r'(?:src|href)="(docs/[^"]*)"', page.text)]
    assert len(urls) == 5
    for url in urls:
        found = get(url)
        assert (found.status_code, found.headers["X-Content-Type-Options"]) == (200, "nosniff")
        again = get(url, **{"If-None-Match": found.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_api_description_has_the_sign_in_of_this_stack(stack: Stack) -> None:
    text = get(f"{stack.docs_url}/openapi.json").text
    url = stack.outputs()["SignInUrl"]
    assert f"{url}/oauth2/token" in text
    assert text.replace(url, "https://auth.example.com") == FILE.read_text()


@pytest.mark.parametrize("path", ["/", "/nothing", "/app.py", "/..%2fapp.py", "/%2e%2e%2fapp.py", "/start.js/x"])
def test_other_files_are_not_served(stack: Stack, path: str) -> None:
    response = get(f"{stack.docs_url}{path}")
    assert response.status_code == 404
    assert response.json()["message"] == "There is no such path, or not with this method"


@pytest.fixture
def page(stack: Stack, tmp_path: Path) -> Iterator[Page]:
    """The loaded page in a new browser; errors and requests to other hosts fail the test."""
    problems: list[str] = []
    host = urlsplit(stack.docs_url).netloc

    def on_request(request: Request) -> None:
        if urlsplit(request.url).netloc != host:
            problems.append(f"request to {request.url}")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=CHROMIUM, args=BROWSER_OPTIONS
        )
        browser.on("request", on_request)
        browser.on("requestfailed", lambda request: problems.append(f"{request.url}: {request.failure}"))
        browser.on(
            "response", lambda found: problems.append(f"{found.url}: {found.status}") if found.status > 399 else None
        )
        browser.on("weberror", lambda error: problems.append(str(error.error)))
        browser.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
        page = browser.new_page()
        page.goto(stack.docs_url)
        expect(page.locator(".opblock")).not_to_have_count(0)
        yield page
        browser.close()
    assert problems == []


@in_chromium
def test_page_shows_every_call(page: Page) -> None:
    expect(page.locator(".opblock")).to_have_count(len(OPERATIONS))
    for method, path, operation in OPERATIONS:
        shown = page.locator(f".opblock[id$={operation}]")
        expect(shown.locator(".opblock-summary-method")).to_have_text(method)
        assert "".join(shown.locator(".opblock-summary-path").inner_text().split("\u200b")) == path


@in_chromium
def test_page_lists_conversations_with_a_token(page: Page, kevin: Client, stack: Stack) -> None:
    created = kevin.create(contact_id="harry", group_id="friends")
    authorize(page, users.token(stack.port, "kevin"))
    assert execute(page, "list_conversations") == {"has_more": False, "data": [created]}


@in_chromium
def test_message_sent_on_the_page_is_in_the_other_users_inbox(
    page: Page, stack: Stack, kevin: Client, harry: Client
) -> None:
    authorize(page, kevin.token)
    conversation = execute(page, "create_conversation", {"contact_id": harry.user_id})
    execute(page, "create_message", {"conversation_id": conversation["id"], "message": "Keep the change."})
    assert wait_until(lambda: harry.inbox()["data"])
    # A page that is loaded again has no token.
    page.goto(stack.docs_url)
    authorize(page, harry.token)
    (entry,) = execute(page, "list_inbox")["data"]
    assert entry["conversation"]["contact_id"] == kevin.user_id
    assert (entry["last_message"]["message"], entry["unread_count"]) == ("Keep the change.", 1)


@in_chromium
@pytest.mark.parametrize("operation", EXAMPLES)
def test_page_sends_the_examples(page: Page, stack: Stack, operation: str) -> None:
    sent: list[Request] = []

    def intercept(route: Route) -> None:
        sent.append(route.request)
        route.fulfill(json={})

    page.route(lambda url: not url.startswith(stack.docs_url), intercept)
    shown = page.locator(f".opblock[id$={operation}]")
    shown.locator(".opblock-summary-control").click()
    for media_type, example in EXAMPLES[operation].items():
        shown.locator(".body-param-content-type select").select_option(media_type)
        id = shown.locator("tr[data-param-in=path] input")
        if id.count():
            id.fill(ABSENT_ID)
        sent.clear()
        with page.expect_response(lambda found: not found.url.startswith(stack.docs_url)):
            shown.get_by_role("button", name="Execute").click()
        (request,) = sent
        (path,) = (path for _, path, name in OPERATIONS if name == operation)
        assert request.url == stack.api_url + re.sub(r"{\w+}", ABSENT_ID, path)
        assert request.headers["content-type"] == media_type
        body = str(request.post_data)
        if media_type == "application/json":
            assert json.loads(body) == example
        else:
            pairs = {name: values if isinstance(values, list) else [values] for name, values in example.items()}
            assert parse_qsl(body) == [(name, as_text(value)) for name, values in pairs.items() for value in values]
        assert not {"if-match", "if-none-match", "idempotency-key"} & request.headers.keys()


def as_text(value: object) -> str:
    """Returns *value* as it is in a form."""
    return json.dumps(value) if isinstance(value, bool) else str(value)


@in_chromium
def test_page_fits_a_phone(page: Page, stack: Stack) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    authorize(page, users.token(stack.port, "kevin"))
    execute(page, "list_conversations")
    for closed in page.locator(".opblock:not(.is-open) .opblock-summary-control").all()[::-1]:
        closed.click()
    expect(page.locator(".opblock-body")).to_have_count(len(OPERATIONS))
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def authorize(page: Page, token: str) -> None:
    """Follows the first line of the page."""
    page.get_by_role("button", name="Authorize", exact=True).click()
    dialog = page.locator(".modal-ux")
    dialog.get_by_role("textbox").fill(token)
    dialog.get_by_text("Authorize", exact=True).click()
    dialog.get_by_text("Close", exact=True).click()


def execute(page: Page, operation: str, body: object = None) -> Any:
    """Makes a call on the page; returns the body of the successful response that the page shows."""
    shown = page.locator(f".opblock[id$={operation}]")
    shown.locator(".opblock-summary-control").click()
    if body is not None:
        shown.locator("textarea").fill(json.dumps(body))
    shown.get_by_role("button", name="Execute").click()
    response = shown.locator(".live-responses-table tbody")
    expect(response.locator(".response-col_status")).to_have_text(re.compile("^20[01]"))
    return json.loads(response.locator("code.language-json").inner_text())
