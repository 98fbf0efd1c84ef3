"""API7: the service fetches no URL from a client and trusts no header about its own host."""

from urllib.parse import urlsplit

import requests

from tests.security.attacks import REQUEST_FORGERY, RecordAttack, trap
from tests.stack import Client, Stack, wait_until


def test_client_urls_are_never_fetched(stack: Stack, kevin: Client, record_attack: RecordAttack) -> None:
    with trap() as (url, requested_paths):
        assert requests.get(f"{url}/alive", timeout=5).status_code == 204
        attachments = [f"{url}/{name}" for name in ("a.png", "b?c=d", "@evil")]
        attachments += ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "gopher://127.0.0.1:1/_x"]
        conversation = kevin.create(contact_id=f"{url}/contact", group_id=f"{url}/group")
        message = kevin.send_message(conversation, f"see {url}/message", attachments=attachments)
        assert message["attachments"] == attachments
        reactions = [{"reaction": f"{url}/reaction", "contact_id": f"{url}/who"}]
        kevin.send("PUT", f"/messages/{message['id']}", json={"reactions": reactions, "attachments": attachments})
        kevin.list(group_id=f"{url}/group")
        headers = {"Referer": url, "Origin": url, "X-Forwarded-Host": urlsplit(url).netloc, "Content-Location": url}
        kevin.send("GET", f"/messages/{message['id']}", headers=headers)
        kevin.send("DELETE", f"/conversations/{conversation['id']}")
        assert wait_until(lambda: stack.message_rows(conversation) == [])
        assert requested_paths == ["/alive"]
    attack = "URLs of a trap in every text: attachments, names, reactions, headers"
    record_attack(REQUEST_FORGERY, attack, "stored as text, never fetched", 12)


FORWARDED = {
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Host": "evil.example",
    "X-Original-Host": "evil.example",
    "Forwarded": "for=1.2.3.4;host=evil.example;proto=gopher",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-For": "1.2.3.4",
    "X-Original-URL": "/evil",
    "X-Rewrite-URL": "/evil",
    "Referer": "http://evil.example",
}


def test_forwarded_headers_do_not_change_urls(kevin: Client, record_attack: RecordAttack) -> None:
    for number in range(2):
        created = kevin.send("POST", "/conversations", json={"contact_id": str(number)}, headers=FORWARDED)
        assert created.headers["Location"] == f"{kevin.api_url}/conversations/{created.json()['id']}"
    page = kevin.send("GET", "/conversations?limit=1", headers=FORWARDED)
    assert page.links["next"]["url"].startswith(f"{kevin.api_url}/conversations?limit=1&starting_after=")
    assert "evil" not in f"{page.headers}{created.headers}{page.text}{created.text}"
    attack = "X-Forwarded-*, Forwarded and similar headers that name another host"
    record_attack(REQUEST_FORGERY, attack, "Location and Link keep the API's URL", 3 * len(FORWARDED))
