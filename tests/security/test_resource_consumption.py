"""API4: oversized, slow and too frequent requests are rejected or do not delay others."""

import json
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.security.attacks import ABSENT_ID, FORM, JSON, RESOURCE_CONSUMPTION, RecordAttack, Victim, unchanged
from tests.stack import Client, Stack, leak_free_error, send_raw, wait_until

MAX_BYTES = 512 * 1024
# Content type, an extra header, body and expected status of POST /conversations.
OVERSIZED: dict[str, tuple[str, str, bytes, int]] = {
    "a body of 512 KiB and a byte": (JSON, "", b'{"contact_id": "%s"}' % (b"a" * (MAX_BYTES - 17)), 413),
    "a body of 6 MB": (JSON, "", b'{"contact_id": "%s"}' % (b"a" * 6_000_000), 413),
    "a form of 6 MB": (FORM, "", b"contact_id=" + b"a" * 6_000_000, 413),
    "30,000 nested arrays": (JSON, "", b'{"contact_id": %s%s}' % (b"[" * 30_000, b"]" * 30_000), 400),
    "10,000 nested objects": (JSON, "", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "65,000 arrays that do not end": (JSON, "", b"[" * 65_000, 400),
    "6,000 parameters": (FORM, "", b"&".join(b"a%d=1" % number for number in range(6_000)), 400),
    "4,000 attributes": (JSON, "", json.dumps({f"a{number}": 1 for number in range(4_000)}).encode(), 400),
    "a number of 60,000 digits": (JSON, "", b'{"contact_id": %s}' % (b"9" * 60_000), 400),
    "a number beyond float": (JSON, "", b'{"contact_id": 1e999999}', 400),
    "a value of 129 characters": (JSON, "", json.dumps({"contact_id": "a" * 129}).encode(), 400),
    "a value of 60,000 characters": (JSON, "", json.dumps({"contact_id": "a" * 60_000}).encode(), 400),
    "an attribute name of 60,000 characters": (JSON, "", json.dumps({"a" * 60_000: "x"}).encode(), 400),
    "a compressed body": (JSON, "Content-Encoding: gzip", b"\x1f\x8b\x08\x00" + b"\x00" * 100, 400),
    "XML with an entity": (
        "application/xml",
        "",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        415,
    ),
    "multipart": ("multipart/form-data; boundary=x", "", b"--x\r\n\r\n--x--\r\n", 415),
    "an idempotency key of 256 characters": (JSON, f"Idempotency-Key: {'a' * 256}", b'{"contact_id": "a"}', 400),
}


@pytest.mark.parametrize("size", OVERSIZED)
def test_oversized_request_gets_a_short_error(
    size: str, stack: Stack, kevin: Client, record_attack: RecordAttack
) -> None:
    content_type, header, body, expected = OVERSIZED[size]
    headers = [f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *filter(None, [header])]
    started = time.monotonic()
    with unchanged(stack, kevin):
        response = send_raw(kevin, "POST /conversations", *headers, body=body)
    assert leak_free_error(response)[0] == expected
    assert len(response.content) < 2000
    assert time.monotonic() - started < 10
    record_attack(RESOURCE_CONSUMPTION, f"a body of POST /conversations: {size}", f"{expected}, a short response")


LIMITS = (
    "limit=101 limit=0 limit=-1 limit=1e2 limit=0x64 limit=1.0 limit=%20100 limit=99999999999999999999 "
    "limit= limit=null limit=true limit=+100 limit=1_0 limit=%D9%A1"
).split()


def test_page_size_cannot_exceed_hundred(kevin: Client, record_attack: RecordAttack) -> None:
    for path in ("/conversations", "/messages"):
        for query in LIMITS:
            response = send_raw(kevin, f"GET {path}?{query}")
            assert leak_free_error(response) == (400, "limit: must be an integer between 1 and 100"), query
    record_attack(RESOURCE_CONSUMPTION, "limit written in 14 invalid ways", "400", 2 * len(LIMITS))


def test_long_urls_and_headers_are_rejected(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    kate, conversation = victim.user, victim.conversation
    etags = ", ".join(f'"{number}"' for number in range(1, 102))
    with unchanged(stack, kate):
        for line, header in (
            (f"GET /conversations?group_id={'a' * 70_000}", "X-A: a"),
            (f"GET /conversations/{'a' * 70_000}", "X-A: a"),
            ("GET /conversations", f"X-A: {'a' * 70_000}"),
        ):
            # Rejected by the emulator's HTTP server, as API Gateway's would.
            assert send_raw(kate, line, header).status_code in (413, 414, 431)
        many_etags = send_raw(kate, f"GET /conversations/{conversation['id']}", f"If-None-Match: {etags}")
        assert leak_free_error(many_etags) == (400, 'If-None-Match: must be * or up to 100 ETags, such as "3", "4"')
        many_headers = send_raw(kate, f"GET /conversations/{ABSENT_ID}", *[f"X-{number}: a" for number in range(1_000)])
        assert leak_free_error(many_headers) == (404, "id: no such conversation")
    attack = "URLs and headers of 70,000 characters, 101 ETags, 1,000 headers"
    record_attack(RESOURCE_CONSUMPTION, attack, "431, 400, or no effect", 5)


def test_slow_clients_do_not_delay_others(
    stack: Stack, kevin: Client, harry: Client, record_attack: RecordAttack
) -> None:
    base = urlsplit(kevin.api_url)
    body = b'{"contact_id": "slow"}'
    head = [f"POST {base.path}/conversations HTTP/1.1", f"Host: {base.netloc}", f"Authorization: Bearer {kevin.token}"]
    head += [f"Content-Type: {JSON}", f"Content-Length: {len(body)}"]
    in_headers, in_body = ("\r\n".join(head)).encode(), ("\r\n".join(head) + "\r\n\r\n").encode()
    harry.create(contact_id="kevin")
    with unchanged(stack, kevin), ExitStack() as closed:
        slow = [
            closed.enter_context(socket.create_connection(("127.0.0.1", stack.port), timeout=60)) for _ in range(40)
        ]
        for number, connection in enumerate(slow):
            connection.sendall(in_headers if number % 2 else in_body)
        for byte in range(10):
            for number, connection in enumerate(slow):
                # Half of the clients send an endless header, the others a body.
                connection.sendall(b"a" if number % 2 else body[byte : byte + 1])
            started = time.monotonic()
            assert len(harry.list()["data"]) == 1
            assert time.monotonic() - started < 5
    attack = "40 clients that send headers and bodies byte by byte"
    record_attack(RESOURCE_CONSUMPTION, attack, "others are served without delay", 40)


def test_throttled_requests_get_429(stack: Stack, kevin: Client, record_attack: RecordAttack) -> None:
    gateway, stage = stack.aws("apigateway"), {"restApiId": stack.outputs()["ApiId"], "stageName": "v1"}
    limits = gateway.get_stage(**stage)["methodSettings"]["*/*"]
    assert (limits["throttlingRateLimit"], limits["throttlingBurstLimit"]) == (500, 1000)
    # A lower limit of the same kind, which a few requests reach.
    path, low = "/~1conversations/GET", {"rateLimit": "0.1", "burstLimit": "5"}
    patch = [{"op": "replace", "path": f"{path}/throttling/{name}", "value": value} for name, value in low.items()]
    gateway.update_stage(**stage, patchOperations=patch)
    try:
        responses = [kevin.send("GET", "/conversations") for _ in range(24)]
    finally:
        gateway.update_stage(**stage, patchOperations=[{"op": "remove", "path": path}])
    throttled = [response for response in responses if response.status_code != 200]
    assert len(throttled) >= 18
    for response in throttled:
        assert leak_free_error(response) == (429, "Too many requests; try again in a moment")
        assert response.headers["Retry-After"] == "1"
    assert wait_until(lambda: kevin.send("GET", "/conversations").status_code == 200)
    record_attack(
        RESOURCE_CONSUMPTION, "more requests than the stage's limits allow", "429 with Retry-After", len(responses)
    )
