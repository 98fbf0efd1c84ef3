"""API8: requests that two HTTP parsers could read differently, such as smuggled ones and repeated headers."""

from urllib.parse import urlsplit

from tests.security.attacks import JSON, MISCONFIGURATION, RecordAttack, Victim, unchanged
from tests.stack import Stack, leak_free_error, send_raw

SMUGGLED: dict[str, list[str]] = {
    "Content-Length and Transfer-Encoding": ["Content-Length: 5", "Transfer-Encoding: chunked"],
    "Content-Length twice": ["Content-Length: 5", "Content-Length: 60"],
    "Content-Length as a list": ["Content-Length: 5, 60"],
    "a negative Content-Length": ["Content-Length: -1"],
    "a signed Content-Length": ["Content-Length: +5"],
    "a hexadecimal Content-Length": ["Content-Length: 0x5"],
    "an unknown Transfer-Encoding": ["Transfer-Encoding: xchunked"],
    "Transfer-Encoding twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    "a space before the colon": ["Transfer-Encoding : chunked"],
    "a chunk with a malformed length": ["Transfer-Encoding: chunked", "X-Chunk: zz"],
    "NUL in a header": ["Content-Length: 5", "X-A: a\0b"],
    "a line end in a header": ["Content-Length: 5", "X-A: a\rX-B: b"],
    "Host twice": ["Content-Length: 5", "Host: evil.example"],
}


def test_request_smuggling_is_rejected(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    kate, conversation = victim.user, victim.conversation
    base = urlsplit(kate.api_url)
    hidden = f"DELETE {base.path}/conversations/{conversation['id']} HTTP/1.1\r\nHost: {base.netloc}\r\n"
    hidden += f"Authorization: Bearer {kate.token}\r\n\r\n"
    with unchanged(stack, kate):
        for headers in SMUGGLED.values():
            chunk = b"zz\r\n" if "X-Chunk: zz" in headers else b"0\r\n\r\n"
            body = chunk + hidden.encode()
            response = send_raw(kate, "POST /conversations", f"Content-Type: {JSON}", *headers, body=body)
            # Rejected by the emulator's HTTP server, as API Gateway's would.
            assert response.status_code in (400, 501)
    attack = "request smuggling: contradictory lengths, malformed headers"
    outcome = "400 or 501 from the emulator's server; API Gateway's is not tested"
    record_attack(MISCONFIGURATION, attack, outcome, len(SMUGGLED))


def test_repeated_headers_are_rejected(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    kate, marv = victim.user, victim.attacker
    path, body = f"/conversations/{victim.conversation['id']}", b'{"is_muted": true}'
    length, json_header = f"Content-Length: {len(body)}", f"Content-Type: {JSON}"
    with unchanged(stack, kate, marv):
        for first, second in ((kate.token, marv.token), (marv.token, kate.token), ("nonsense", kate.token)):
            two_tokens = send_raw(kate, f"GET {path}", f"Authorization: Bearer {second}", token=first)
            assert leak_free_error(two_tokens)[0] == 401
        for status, headers in (
            (415, (json_header, "Content-Type: text/plain")),
            (412, (json_header, 'If-Match: "1"', 'If-Match: "2"')),
            (400, (json_header, "If-Match: *", 'If-Match: "1"')),
        ):
            response = send_raw(kate, f"PUT {path}", *headers, length, body=body)
            assert leak_free_error(response)[0] == status
    attack = "two Authorization, Content-Type or If-Match headers"
    record_attack(MISCONFIGURATION, attack, "401, 415, 412, 400", 6)
