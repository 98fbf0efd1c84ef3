"""Attacks on the deployed stack by the OWASP API Security Top 10 of 2023; tokens and roles have files of their own."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
import requests
from coherent import ids

from tests.e2e.conftest import Attacked
from tests.stack import Client, Stack, raw, rejected, seen, wait_until
from tests.template import ROOT

AUTHORIZATION = "API1:2023 Broken object level authorization"
PROPERTIES = "API3:2023 Broken object property level authorization"
CONSUMPTION = "API4:2023 Unrestricted resource consumption"
FUNCTIONS = "API5:2023 Broken function level authorization"
FLOWS = "API6:2023 Unrestricted access to sensitive business flows"
FORGERY = "API7:2023 Server side request forgery"
CONFIGURATION = "API8:2023 Security misconfiguration"
INVENTORY = "API9:2023 Improper inventory management"
EVENTS = "API10:2023 Unsafe consumption of APIs"

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
ABSENT = "xgQQXg3hrtjh7AvZ"
NO_PATH = (404, "There is no such path, or not with this method")


@pytest.fixture
def conversation(kevin: Client) -> dict[str, Any]:
    """One of kevin's, with a message pinned."""
    created = kevin.create(contact_id="harry", group_id="friends")
    message = kevin.send_message(created)
    return kevin.update(created, pinned_message_id=message["id"])


class Victim(NamedTuple):
    """Somebody who is attacked, and what they own; and what the one who attacks owns."""

    user: Client
    conversation: dict[str, Any]
    message: dict[str, Any]
    attacker: Client
    own: dict[str, Any]


@pytest.fixture(scope="module")
def victim_of_all(stack: Stack) -> Iterator[Victim]:
    """One victim for all tests that change nothing."""
    kate, marv = stack.client("kate"), stack.client("marv")
    conversation, own = kate.create(contact_id="marv", group_id="friends"), marv.create(group_id="friends")
    message = kate.send_message(conversation)
    marv.send_message(own)
    yield Victim(kate, kate.update(conversation, pinned_message_id=message["id"]), message, marv, own)
    for client in (kate, marv):
        for found in client.list()["data"]:
            client.send("DELETE", f"/conversations/{found['id']}")


@pytest.fixture
def victim(stack: Stack, victim_of_all: Victim) -> Victim:
    """Somebody to attack; an attack before this one has not left them with nothing to lose."""
    kept = {row["id"]["S"] for row in stack.owned(victim_of_all.user)}
    assert {victim_of_all.conversation["id"], victim_of_all.message["id"]} <= kept
    return victim_of_all


@contextmanager
def nothing_changes(stack: Stack, *clients: Client) -> Iterator[None]:
    """What these users own is afterwards what it was, and the service still answers them."""
    before = [stack.owned(client) for client in clients]
    yield
    assert [stack.owned(client) for client in clients] == before
    for client in clients:
        client.list()


# API1: whose is it?

# Where another one's id can stand: the call, and what is answered.
POSITIONS: dict[str, tuple[str, str, dict[str, Any], int]] = {
    "in the path of GET /conversations": ("GET", "/conversations/CONVERSATION", {}, 404),
    "in the path of PUT /conversations": ("PUT", "/conversations/CONVERSATION", {"json": {"is_muted": True}}, 404),
    "in the path of DELETE /conversations": ("DELETE", "/conversations/CONVERSATION", {}, 404),
    "in the path of GET /messages": ("GET", "/messages/MESSAGE", {}, 404),
    "in the path of PUT /messages": ("PUT", "/messages/MESSAGE", {"json": {"message": "mine"}}, 404),
    "in the path of DELETE /messages": ("DELETE", "/messages/MESSAGE", {}, 404),
    "of a message in the path of GET /conversations": ("GET", "/conversations/MESSAGE", {}, 404),
    "of a conversation in the path of GET /messages": ("GET", "/messages/CONVERSATION", {}, 404),
    "in the query of GET /messages": ("GET", "/messages?conversation_id=CONVERSATION", {}, 404),
    "in the body of POST /messages": (
        "POST",
        "/messages",
        {"json": {"conversation_id": "CONVERSATION", "message": "hello"}},
        404,
    ),
    "as the message to pin": ("PUT", "/conversations/OWN", {"json": {"pinned_message_id": "MESSAGE"}}, 400),
    "as the message to pin in their own conversation": (
        "PUT",
        "/conversations/CONVERSATION",
        {"json": {"pinned_message_id": "MESSAGE"}},
        404,
    ),
    "with If-None-Match of its ETag": (
        "GET",
        "/conversations/CONVERSATION",
        {"headers": {"If-None-Match": '"3"'}},
        404,
    ),
    "with If-None-Match of any ETag": ("GET", "/conversations/CONVERSATION", {"headers": {"If-None-Match": "*"}}, 404),
    "with If-Match of its ETag": ("DELETE", "/conversations/CONVERSATION", {"headers": {"If-Match": '"3"'}}, 404),
    "with If-Match of any ETag": (
        "PUT",
        "/conversations/CONVERSATION",
        {"json": {"is_muted": True}, "headers": {"If-Match": "*"}},
        404,
    ),
    "of a message with If-Match of its ETag": ("DELETE", "/messages/MESSAGE", {"headers": {"If-Match": '"1"'}}, 404),
    "as the position to list conversations from": ("GET", "/conversations?starting_after=CONVERSATION", {}, 200),
    "as the position to list messages from": ("GET", "/messages?ending_before=MESSAGE", {}, 200),
    "as the position in an own conversation": ("GET", "/messages?conversation_id=OWN&ending_before=MESSAGE", {}, 200),
    "as a group": ("GET", "/conversations?group_id=CONVERSATION", {}, 200),
}


@pytest.mark.parametrize("position", POSITIONS)
def test_a_foreign_id_looks_like_one_that_never_was(
    position: str, stack: Stack, victim: Victim, attacked: Attacked
) -> None:
    *call, status = POSITIONS[position]

    def attack(conversation_id: str, message_id: str) -> requests.Response:
        text = json.dumps(call)
        for name, id in (("CONVERSATION", conversation_id), ("MESSAGE", message_id), ("OWN", victim.own["id"])):
            text = text.replace(name, id)
        method, path, arguments = json.loads(text)
        return victim.attacker.send(method, path, **arguments)

    secrets = (victim.conversation["id"], victim.message["id"], victim.user.user_id)
    with nothing_changes(stack, victim.user, victim.attacker):
        # Of the same microsecond, so nothing of anybody's lies between the two.
        foreign, absent = attack(*secrets[:2]), attack(*(f"{id[:9]}0000000" for id in secrets[:2]))
    assert seen(foreign) == seen(absent)
    assert foreign.status_code == status
    if status == 200:
        assert not [secret for secret in secrets if secret in foreign.text]
        outcome = "a position only: the answer is that for an id that never was"
    else:
        rejected(foreign, *secrets)
        outcome = f"{status}, header by header as for an id that never was"
    attacked(AUTHORIZATION, f"another user's id: {position}", outcome)


def test_another_users_idempotency_key_gives_nothing_of_theirs(
    stack: Stack, kevin: Client, harry: Client, attacked: Attacked
) -> None:
    headers = {"Idempotency-Key": ids.new(time.time_ns())}
    theirs = kevin.send("POST", "/conversations", json={"contact_id": "marv"}, headers=headers).json()
    with nothing_changes(stack, kevin):
        equal = harry.send("POST", "/conversations", json={"contact_id": "marv"}, headers=headers)
        other = harry.send("POST", "/conversations", json={"contact_id": "kate"}, headers=headers)
    assert equal.status_code == 201
    assert equal.json()["id"] != theirs["id"]
    assert "Idempotent-Replayed" not in equal.headers
    # It is harry's own key that was used before.
    assert rejected(other)[0] == 422
    attacked(AUTHORIZATION, "another user's Idempotency-Key, with equal attributes", "201, a conversation of one's own")


def test_a_record_of_an_idempotency_key_is_no_conversation(stack: Stack, kevin: Client, attacked: Attacked) -> None:
    # One that could be an id.
    key = ids.new(time.time_ns())
    kevin.send("POST", "/conversations", json={"contact_id": "marv"}, headers={"Idempotency-Key": key})
    paths = [key, "purge", "idempotency", quote(f"idempotency#{kevin.user_id}", safe=""), f"{kevin.user_id}%23{key}"]
    calls: list[tuple[str, dict[str, bool] | None]] = [("GET", None), ("PUT", {"is_muted": True}), ("DELETE", None)]
    with nothing_changes(stack, kevin):
        for path in paths:
            for method, body in calls:
                response = kevin.send(method, f"/conversations/{path}", json=body)
                assert rejected(response, kevin.user_id) == (404, "id: no such conversation")
        listed = kevin.send("GET", "/messages", params={"conversation_id": key})
        assert rejected(listed) == (404, "conversation_id: no such conversation")
    attempts = len(paths) * len(calls) + 1
    attacked(AUTHORIZATION, "keys of internal rows as ids: purge, idempotency#..., an id-shaped key", "404", attempts)


def test_a_group_name_leads_into_no_other_partition(
    stack: Stack, kevin: Client, harry: Client, conversation: dict[str, Any], attacked: Attacked
) -> None:
    names = ["friends", "#friends", f"{kevin.user_id}#friends", f"#{kevin.user_id}#friends", "*", "friends#", "%"]
    with nothing_changes(stack, kevin):
        for name in names:
            assert harry.list(group_id=name)["data"] == []
            own = harry.create(group_id=name)
            assert harry.list(group_id=name)["data"] == [own]
            assert harry.list(group_id=f"{kevin.user_id}#{name}x")["data"] == []
        assert kevin.list(group_id="friends")["data"] == [conversation]
    attacked(AUTHORIZATION, "group names with '#' and another user's id in them", "values of one's own", 3 * len(names))


LOOK_ALIKES = [
    *(
        "caf\u00e9",
        "cafe\u0301",
        "Caf\u00e9",
        "c\u0430f\u00e9",
        "\uff43af\u00e9",
        "\uff43\uff41\uff46\uff45",
        "\U0001d41caf\u00e9",
    ),
    *(
        "caf\u200b\u00e9",
        "caf\u00ad\u00e9",
        "caf\u00e9\u200d",
        "\u202ecaf\u00e9",
        "cafe",
        "cafe%00",
        "cafe\\n",
        "cafe.",
        "cafe#",
    ),
]


def test_names_that_look_alike_are_different_names(kevin: Client, attacked: Attacked) -> None:
    created = {name: kevin.create(contact_id=name, group_id=name) for name in LOOK_ALIKES}
    assert len(created) == len(LOOK_ALIKES)
    for name, conversation in created.items():
        assert conversation["contact_id"] == conversation["group_id"] == name
        assert kevin.list(group_id=name)["data"] == [conversation]
    attack = "Unicode look-alikes as contacts and groups: other scripts, full width, zero width, NFC and NFD"
    attacked(AUTHORIZATION, attack, "each is a value of its own", 2 * len(LOOK_ALIKES))


# The letters of other sounds that look like "aceopxABCEHKMOPTX".
CYRILLIC = "\u0430\u0441\u0435\u043e\u0440\u0445\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425"


def confused(id: str) -> list[str]:
    """*id* as it could pass for itself, in a path."""
    full_width = "".join(chr(ord(character) + 0xFEE0) for character in id)
    cyrillic = id.translate(dict(zip(map(ord, "aceopxABCEHKMOPTX"), CYRILLIC, strict=True)))
    zero_width = [f"{id}\u200b", f"\ufeff{id}", f"{id[:8]}\u200d{id[8:]}", f"{id}\u0301", f"\u202e{id[::-1]}"]
    written = [quote(name, safe="") for name in (full_width, cyrillic, *zero_width) if name != id]
    # The first letter in two and three bytes where it has one.
    overlong = [f"%C1%{0x80 | ord(id[0]) & 0x3F:X}{id[1:]}", f"%E0%81%{0x80 | ord(id[0]) & 0x3F:X}{id[1:]}"]
    around = [
        f"{id}{end}" for end in ("%00", "%0a", "%0d%0a", "%20", ".", ".json", ";v=1", "%3f", "%23", "%25", "*", "%2a")
    ]
    before = [f"%20{id}", f"%00{id}", f"%0a{id}", f".%2f{id}", f"..%2f{id}", f"x%2f..%2f{id}", f"%5c{id}", f"../{id}/."]
    return [*written, *overlong, *around, *before, id.swapcase(), id[:15], f"{id}0", f"{{{id}}}", f"%2525{id}"]


def test_a_confused_id_in_a_path_names_nothing(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    paths = confused(conversation["id"])
    with nothing_changes(stack, kate):
        for path in paths:
            for method in ("GET", "DELETE"):
                response = raw(kate, f"{method} /conversations/{path}")
                assert rejected(response) in ((404, "id: no such conversation"), NO_PATH), path
    attack = "one's own id, confused: other scripts, zero width, overlong UTF-8, NUL, line ends, slashes, dots"
    attacked(AUTHORIZATION, attack, "404", 2 * len(paths))


def test_a_confused_id_elsewhere_is_refused(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    id, message = conversation["id"], conversation["pinned_message_id"]
    attempts = 0
    with nothing_changes(stack, kate):
        for end in ("\n", "\u200b", "\x00", "\uff11", "#", " ", "\u0301", "'--", '"', "%00"):
            for name, response in (
                ("starting_after", kate.send("GET", "/conversations", params={"starting_after": id + end})),
                ("conversation_id", kate.send("GET", "/messages", params={"conversation_id": id + end})),
                ("conversation_id", kate.send("POST", "/messages", json={"conversation_id": id + end, "message": "x"})),
                ("conversation_id", kate.send("POST", "/messages", data={"conversation_id": id + end, "message": "x"})),
                (
                    "pinned_message_id",
                    kate.send("PUT", f"/conversations/{id}", json={"pinned_message_id": message + end}),
                ),
            ):
                status, told = rejected(response, id)
                assert (status, told.partition(":")[0]) == (400, name), end
                attempts += 1
    attacked(AUTHORIZATION, "confused ids in query, body and cursor", "400 that names the parameter", attempts)


# API3: attributes that are not the client's to write or to read.

# Of the API's own answers, of the rows, and of what others call the like.
NOT_THEIRS: dict[str, object] = {
    "id": ABSENT,
    "user_id": "harry",
    "owner_group": "harry#friends",
    "user_conversation": f"harry#{ABSENT}",
    "is_archived": True,
    "version": 1000,
    "created_at": 1,
    "updated_at": 1,
    "last_active_at": 1,
    "expires_at": 1,
    "written_by": ABSENT,
    "made_id": ABSENT,
    "digest": "x",
    "contact": {"id": "harry"},
    "is_admin": True,
    "role": "admin",
    "sub": "harry",
    "scope": "conversations/write",
    "__proto__": {"is_pinned": True},
    "constructor": {"prototype": {"is_pinned": True}},
    "": "x",
    "Is_pinned": True,
    "is_pinned ": True,
}
WRITES: dict[str, tuple[str, str, dict[str, object]]] = {
    "POST /conversations": ("POST", "/conversations", {"contact_id": "marv"}),
    "PUT /conversations": ("PUT", "/conversations/CONVERSATION", {"is_muted": True}),
    "POST /messages": ("POST", "/messages", {"conversation_id": "CONVERSATION", "message": "x"}),
    "PUT /messages": ("PUT", "/messages/MESSAGE", {"message": "x"}),
}


@pytest.mark.parametrize("write", WRITES)
def test_no_attribute_is_written_that_is_not_the_clients(
    write: str, stack: Stack, victim: Victim, attacked: Attacked
) -> None:
    kate, conversation = victim.user, victim.conversation
    method, path, body = WRITES[write]
    path = path.replace("CONVERSATION", conversation["id"]).replace("MESSAGE", conversation["pinned_message_id"])
    if "conversation_id" in body:
        body = body | {"conversation_id": conversation["id"]}
    with nothing_changes(stack, kate):
        for name, value in NOT_THEIRS.items():
            for given in ({"json": body | {name: value}}, {"data": _text(body) | {name: str(value)}}):
                status, told = rejected(kate.send(method, path, **given))
                assert (status, told.startswith(f"{name}: unknown or read-only;")) == (400, True), told
        all_at_once = kate.send(method, path, json=body | NOT_THEIRS)
        assert rejected(all_at_once)[0] == 400
    outcome = "400 that names the attribute; the rest is not written either"
    attacked(PROPERTIES, f"mass assignment by {write}, JSON and form", outcome, 2 * len(NOT_THEIRS) + 1)


def _text(body: dict[str, object]) -> dict[str, str]:
    return {name: "true" if value is True else str(value) for name, value in body.items()}


def test_answers_hold_what_the_contract_lists_and_nothing_else_of_a_row(
    stack: Stack, kevin: Client, conversation: dict[str, Any], attacked: Attacked
) -> None:
    contract = json.loads((ROOT / "openapi.json").read_text())["components"]["schemas"]
    message = kevin.send("GET", f"/messages/{conversation['pinned_message_id']}").json()
    for name, resources in (
        (
            "Conversation",
            [conversation, *kevin.list()["data"], kevin.send("GET", f"/conversations/{conversation['id']}").json()],
        ),
        ("Message", [message, *kevin.messages()["data"]]),
    ):
        for resource in resources:
            assert list(resource) == list(contract[name]["properties"])
    inner = {name for row in stack.owned(kevin) for name in row} - conversation.keys() - message.keys()
    assert {"user_id", "owner_group", "user_conversation", "version", "written_by"} <= inner
    attacked(PROPERTIES, "attributes of rows in what is read", f"none of the {len(inner)} inner ones is shown", 5)


# Parameters given in ways that two readers could read differently: the request, and what its message starts with.
POLLUTION: dict[str, tuple[str, str, bytes, str]] = {
    "a parameter twice": ("GET /conversations?limit=1&limit=100", "", b"", "limit: must be given only once"),
    "one encoded": ("GET /conversations?limit=1&%6cimit=100", "", b"", "limit: must be given only once"),
    "an array": ("GET /conversations?limit[]=1", "", b"", "limit[]: unknown"),
    "a map": ("GET /conversations?limit[$gt]=1", "", b"", "limit[$gt]: unknown"),
    "a semicolon": ("GET /conversations?limit=1;limit=100", "", b"", "limit: must be an integer"),
    "full width": ("GET /conversations?limit=%EF%BC%91", "", b"", "limit: must be an integer"),
    "another case": ("GET /conversations?Limit=1", "", b"", "Limit: unknown"),
    "a method": ("GET /conversations?_method=DELETE", "", b"", "_method: unknown"),
    "a callback": ("GET /conversations?callback=alert", "", b"", "callback: unknown"),
    "a filter of another user": ("GET /conversations?user_id=harry", "", b"", "user_id: unknown"),
    "both cursors": (
        f"GET /conversations?starting_after={ABSENT}&ending_before={ABSENT}",
        "",
        b"",
        "starting_after, ending_before: only one",
    ),
    "a query on a POST": (
        "POST /conversations?contact_id=a",
        JSON,
        b'{"contact_id": "b"}',
        "contact_id: unknown; this call takes no",
    ),
    "a query on a DELETE": (
        f"DELETE /conversations/{ABSENT}?force=true",
        "",
        b"",
        "force: unknown; this call takes no",
    ),
    "a body of a GET": ("GET /conversations", JSON, b'{"limit": 1}', "body: must be empty"),
    "a body of a DELETE": (f"DELETE /conversations/{ABSENT}", FORM, b"id=x", "body: must be empty"),
    "a name twice": (
        "POST /conversations",
        JSON,
        b'{"contact_id": "a", "contact_id": "b"}',
        "contact_id: must be given only",
    ),
    "one escaped": (
        "POST /conversations",
        JSON,
        b'{"contact_id": "a", "contact\\u005fid": "b"}',
        "contact_id: must be given only",
    ),
    "a name twice deeper": (
        "POST /conversations",
        JSON,
        b'{"contact_id": {"a": 1, "a": 2}}',
        "a: must be given only once",
    ),
    "a field twice": ("POST /conversations", FORM, b"contact_id=a&contact_id=b", "contact_id: must be given only once"),
    "a field and an array": (
        "POST /conversations",
        FORM,
        b"contact_id=a&contact_id[]=b",
        "contact_id: must be given only",
    ),
    "an operator": ("POST /conversations", JSON, b'{"contact_id": {"$ne": null}}', "contact_id: must be 1 to 128"),
    "a typed value": ("POST /conversations", JSON, b'{"contact_id": {"S": "x"}}', "contact_id: must be 1 to 128"),
    "a form as JSON": ("POST /conversations", JSON, b"contact_id=a", "body: must be well-formed JSON"),
    "JSON as a form": ("POST /conversations", FORM, b'{"contact_id": "a"}', "body: must be a well-formed form"),
    "an array of bodies": ("POST /conversations", JSON, b'[{"contact_id": "a"}]', "body: must be a JSON object"),
    "a lone surrogate": ("POST /conversations", JSON, b'{"contact_id": "\\ud800"}', "contact_id: must be 1 to 128"),
    "one in a name": ("POST /conversations", JSON, b'{"\\ud800": "a"}', "parameter names: must be valid Unicode"),
    "NUL": ("POST /conversations", JSON, b'{"contact_id": "a\\u0000b"}', "contact_id: must be 1 to 128"),
    "a line end": ("POST /conversations", FORM, b"contact_id=a%0d%0aX:y", "contact_id: must be 1 to 128"),
    "overlong UTF-8": ("POST /conversations", FORM, b"contact_id=%C0%AF", "body: must be a well-formed form"),
    "UTF-16": ("POST /conversations", JSON, '{"contact_id": "a"}'.encode("utf-16"), "body: must be well-formed JSON"),
    "a byte order mark": ("POST /conversations", JSON, b'\xef\xbb\xbf{"contact_id": "a"}', "body: must be well-formed"),
    "NaN": ("POST /conversations", JSON, b'{"contact_id": NaN}', "body: must be well-formed JSON"),
}


@pytest.mark.parametrize("pollution", POLLUTION)
def test_what_two_readers_could_read_differently_is_refused(
    pollution: str, stack: Stack, kevin: Client, attacked: Attacked
) -> None:
    line, content_type, body, expected = POLLUTION[pollution]
    headers = [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"] if body else []
    with nothing_changes(stack, kevin):
        status, told = rejected(raw(kevin, line, *headers, body=body))
    assert (status, told[: len(expected)]) == (400, expected)
    attacked(PROPERTIES, f"parameter pollution: {pollution}", "400 that says what would be right")


# API4: more than there is a limit for.

MOST = 64 * 1024
OVERSIZED: dict[str, tuple[str, str, bytes, int]] = {
    "a body of 64 KiB and a byte": (JSON, "", b'{"contact_id": "%s"}' % (b"a" * (MOST - 17)), 413),
    "a body of 6 MB": (JSON, "", b'{"contact_id": "%s"}' % (b"a" * 6_000_000), 413),
    "a form of 6 MB": (FORM, "", b"contact_id=" + b"a" * 6_000_000, 413),
    "30,000 nested arrays": (JSON, "", b'{"contact_id": %s%s}' % (b"[" * 30_000, b"]" * 30_000), 400),
    "10,000 nested objects": (JSON, "", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "nesting without an end": (JSON, "", b"[" * 65_000, 400),
    "6,000 parameters": (FORM, "", b"&".join(b"a%d=1" % number for number in range(6_000)), 400),
    "4,000 attributes": (JSON, "", json.dumps({f"a{number}": 1 for number in range(4_000)}).encode(), 400),
    "a number of 60,000 digits": (JSON, "", b'{"contact_id": %s}' % (b"9" * 60_000), 400),
    "a number beyond all": (JSON, "", b'{"contact_id": 1e999999}', 400),
    "a name of 129 characters": (JSON, "", json.dumps({"contact_id": "a" * 129}).encode(), 400),
    "a name of 60,000": (JSON, "", json.dumps({"contact_id": "a" * 60_000}).encode(), 400),
    "an attribute called 60,000 letters": (JSON, "", json.dumps({"a" * 60_000: "x"}).encode(), 400),
    "a compressed body": (JSON, "Content-Encoding: gzip", b"\x1f\x8b\x08\x00" + b"\x00" * 100, 400),
    "XML with an entity": (
        "application/xml",
        "",
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        415,
    ),
    "parts": ("multipart/form-data; boundary=x", "", b"--x\r\n\r\n--x--\r\n", 415),
    "a key of 256 characters": (JSON, f"Idempotency-Key: {'a' * 256}", b'{"contact_id": "a"}', 400),
}


@pytest.mark.parametrize("size", OVERSIZED)
def test_what_is_too_much_is_refused_and_not_in_its_length(
    size: str, stack: Stack, kevin: Client, attacked: Attacked
) -> None:
    content_type, header, body, expected = OVERSIZED[size]
    headers = [f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *filter(None, [header])]
    started = time.monotonic()
    with nothing_changes(stack, kevin):
        response = raw(kevin, "POST /conversations", *headers, body=body)
    assert rejected(response)[0] == expected
    # Neither does it cost the one who is attacked much to answer.
    assert len(response.content) < 2000
    assert time.monotonic() - started < 10
    attacked(CONSUMPTION, f"a body of POST /conversations: {size}", f"{expected}, in a short answer")


LISTS = [
    *(
        "limit=101",
        "limit=0",
        "limit=-1",
        "limit=1e2",
        "limit=0x64",
        "limit=1.0",
        "limit=%20100",
        "limit=99999999999999999999",
    ),
    *("limit=", "limit=null", "limit=true", "limit=+100", "limit=1_0", "limit=%D9%A1"),
]


def test_a_page_has_at_most_a_hundred(kevin: Client, attacked: Attacked) -> None:
    for path in ("/conversations", "/messages"):
        for query in LISTS:
            response = raw(kevin, f"GET {path}?{query}")
            assert rejected(response) == (400, "limit: must be an integer between 1 and 100"), query
    attacked(CONSUMPTION, "pages without bounds: every other way to write a limit", "400", 2 * len(LISTS))


def test_long_urls_and_headers_end_at_the_door(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    conditions = ", ".join(f'"{number}"' for number in range(1, 102))
    with nothing_changes(stack, kate):
        for line, header in (
            (f"GET /conversations?group_id={'a' * 70_000}", "X-A: a"),
            (f"GET /conversations/{'a' * 70_000}", "X-A: a"),
            ("GET /conversations", f"X-A: {'a' * 70_000}"),
        ):
            # Of the server before the API, as API Gateway has one.
            assert raw(kate, line, header).status_code in (413, 414, 431)
        many = raw(kate, f"GET /conversations/{conversation['id']}", f"If-None-Match: {conditions}")
        assert rejected(many) == (400, 'If-None-Match: must be * or up to 100 ETags, such as "3", "4"')
        crowd = raw(kate, f"GET /conversations/{ABSENT}", *[f"X-{number}: a" for number in range(1_000)])
        assert rejected(crowd) == (404, "id: no such conversation")
    attacked(
        CONSUMPTION, "URLs and headers of 70,000 characters, 101 ETags, 1,000 headers", "431, 400 or not noticed", 5
    )


def test_slow_clients_keep_nobody_waiting(stack: Stack, kevin: Client, harry: Client, attacked: Attacked) -> None:
    base = urlsplit(kevin.api_url)
    body = b'{"contact_id": "slow"}'
    head = [f"POST {base.path}/conversations HTTP/1.1", f"Host: {base.netloc}", f"Authorization: Bearer {kevin.token}"]
    head += [f"Content-Type: {JSON}", f"Content-Length: {len(body)}"]
    in_headers, in_body = ("\r\n".join(head)).encode(), ("\r\n".join(head) + "\r\n\r\n").encode()
    harry.create(contact_id="kevin")
    with nothing_changes(stack, kevin), ExitStack() as closed:
        slow = [closed.enter_context(connected(stack)) for _ in range(40)]
        for number, connection in enumerate(slow):
            connection.sendall(in_headers if number % 2 else in_body)
        for byte in range(10):
            for number, connection in enumerate(slow):
                # A header that grows and grows, or a body.
                connection.sendall(b"a" if number % 2 else body[byte : byte + 1])
            started = time.monotonic()
            assert len(harry.list()["data"]) == 1
            assert time.monotonic() - started < 5
    attacked(CONSUMPTION, "40 clients that send headers and bodies byte by byte", "others are served at once", 40)


def test_who_asks_too_often_is_told_to_wait(stack: Stack, kevin: Client, attacked: Attacked) -> None:
    gateway, stage = stack.aws("apigateway"), {"restApiId": stack.outputs()["ApiId"], "stageName": "v1"}
    limits = gateway.get_stage(**stage)["methodSettings"]["*/*"]
    assert (limits["throttlingRateLimit"], limits["throttlingBurstLimit"]) == (500, 1000)
    # Of the same kind as the stage's own, and reached by few requests.
    path, few = "/~1conversations/GET", {"rateLimit": "0.1", "burstLimit": "5"}
    patch = [{"op": "replace", "path": f"{path}/throttling/{name}", "value": value} for name, value in few.items()]
    gateway.update_stage(**stage, patchOperations=patch)
    try:
        responses = [kevin.send("GET", "/conversations") for _ in range(24)]
    finally:
        gateway.update_stage(**stage, patchOperations=[{"op": "remove", "path": path}])
    throttled = [response for response in responses if response.status_code != 200]
    assert len(throttled) >= 18
    for response in throttled:
        assert rejected(response) == (429, "Too many requests; try again in a moment")
        assert response.headers["Retry-After"] == "1"
    assert wait_until(lambda: kevin.send("GET", "/conversations").status_code == 200)
    attacked(CONSUMPTION, "more requests than the stage's limits let through", "429 with Retry-After", len(responses))


# API5 and API6: functions and flows that are not for users.


def test_functions_behind_events_cannot_be_called_by_users(stack: Stack, kevin: Client, attacked: Attacked) -> None:
    outside = ["receive_message", "purge_messages", "sweep_purges", "exercise_release"]
    names = ["ReceiveMessage", "PurgeMessages", "SweepPurges"]
    paths = [*outside, *names, "events", "purge", "sweep", "admin", "conversations/purge", "messages/receive", "users"]
    attempts = 0
    with nothing_changes(stack, kevin):
        for path in paths:
            for method in ("GET", "POST", "DELETE"):
                # An id may stand below the two nouns, for which these are no ids.
                response = raw(kevin, f"{method} /{path}")
                assert rejected(response)[0] == 404, path
                attempts += 1
    for name in names:
        function = stack.function(name)
        url = f"http://127.0.0.1:{stack.port}/2015-03-31/functions/{function}/invocations"
        assert requests.post(url, json={}, timeout=30).status_code == 403
        attempts += 1
        assert stack.aws("lambda").list_function_url_configs(FunctionName=function)["FunctionUrlConfigs"] == []
    attacked(FUNCTIONS, "functions behind events called by HTTP", "404, or 403 of Lambda", attempts)


def test_a_message_can_neither_be_put_into_anothers_mouth_nor_before_anothers_eyes(
    stack: Stack, kevin: Client, harry: Client, attacked: Attacked
) -> None:
    conversation = kevin.create(contact_id=harry.user_id, group_id="friends")
    harry.create(contact_id=kevin.user_id, group_id="friends")
    body = {"conversation_id": conversation["id"], "message": "hello"}
    with nothing_changes(stack, harry):
        for _ in range(10):
            assert kevin.send_message(conversation)["contact"] is None
        for forged in ({"contact": {"id": harry.user_id}}, {"contact_id": harry.user_id}, {"user_id": harry.user_id}):
            assert rejected(kevin.send("POST", "/messages", json=body | forged))[0] == 400
    assert harry.messages()["data"] == []
    outcome = "400, and what one sends reaches nobody: no call writes to another user"
    attacked(FLOWS, "messages as if somebody else had sent them, and unasked ones to somebody", outcome, 13)


# API7: what the service could be made to fetch, or to send others to.


@contextmanager
def connected(stack: Stack) -> Iterator[Any]:
    """A connection to the API, closed at the end."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=60) as connection:
        yield connection


class Trap(BaseHTTPRequestHandler):
    """Remembers who comes."""

    caught: list[str]

    def do_GET(self) -> None:
        """Answers nothing of use."""
        self.caught.append(self.path)
        self.send_response(204)
        self.end_headers()

    def do_POST(self) -> None:
        """The same."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def trap() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that should never be called, and the paths by which it was."""
    caught: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("_Trap", (Trap,), {"caught": caught}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", caught
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_no_url_that_a_client_writes_is_ever_fetched(stack: Stack, kevin: Client, attacked: Attacked) -> None:
    with trap() as (url, caught):
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
        assert wait_until(lambda: stack.rows_of(conversation) == [])
        assert caught == ["/alive"]
    attacked(
        FORGERY,
        "URLs of a trap in every text: attachments, names, reactions, headers",
        "kept as text, never fetched",
        12,
    )


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


def test_no_header_says_where_the_api_is(kevin: Client, attacked: Attacked) -> None:
    for number in range(2):
        created = kevin.send("POST", "/conversations", json={"contact_id": str(number)}, headers=FORWARDED)
        assert created.headers["Location"] == f"{kevin.api_url}/conversations/{created.json()['id']}"
    page = kevin.send("GET", "/conversations?limit=1", headers=FORWARDED)
    assert page.links["next"]["url"].startswith(f"{kevin.api_url}/conversations?limit=1&starting_after=")
    assert "evil" not in f"{page.headers}{created.headers}{page.text}{created.text}"
    outcome = "Location and Link are those of the API"
    attacked(FORGERY, "X-Forwarded-*, Forwarded and the like that name another host", outcome, 3 * len(FORWARDED))


# API8: what is set up wrongly.


def calls(conversation: dict[str, Any]) -> Iterator[tuple[str, str, str | None, int]]:
    """An answer of each kind: method, path, a token in place of the right one, and the status."""
    yield "GET", f"/conversations/{conversation['id']}", None, 200
    yield "GET", "/conversations", None, 200
    yield "GET", "/messages", None, 200
    yield "GET", "/conversations?limit=0", None, 400
    yield "GET", f"/conversations/{ABSENT}", None, 404
    yield "GET", "/conversations", "nonsense", 401
    yield "GET", "/nothing", None, 404
    yield "PATCH", "/conversations", None, 404


ORIGINS = [
    "https://evil.example",
    "null",
    "http://127.0.0.1",
    "file://",
    "https://protocol.chat.evil.example",
    "*",
    "'",
]


def test_no_origin_is_let_in_with_credentials(victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    attempts = 0
    for method, path, token, status in calls(conversation):
        for origin in ORIGINS:
            response = raw(kate, f"{method} {path}", f"Origin: {origin}", "Cookie: session=1", token=token)
            assert response.status_code == status
            # The setting, whatever was asked; with "*" a browser sends nothing by itself.
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert "Set-Cookie" not in response.headers
            attempts += 1
    attacked(CONFIGURATION, "CORS with origins that are foreign, null or look like ours", "never reflected", attempts)


def test_a_preflight_allows_what_is_listed_whatever_is_asked(kevin: Client, attacked: Attacked) -> None:
    listed = {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"}
    asked = ["X-Evil", "Cookie", "X-HTTP-Method-Override", "*", "X-Amz-Date, X-Api-Key"]
    for header in asked:
        for method in ("PATCH", "TRACE", "PUT"):
            headers = [f"Access-Control-Request-Headers: {header}", f"Access-Control-Request-Method: {method}"]
            response = raw(kevin, "OPTIONS /conversations", "Origin: null", *headers, token="")
            assert response.status_code == 200
            assert set(response.headers["Access-Control-Allow-Methods"].split(",")) == {"GET", "POST", "PUT", "DELETE"}
            assert set(response.headers["Access-Control-Allow-Headers"].lower().split(",")) == listed
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert "Access-Control-Allow-Private-Network" not in response.headers
    attacked(CONFIGURATION, "preflights for headers and methods that are not listed", "only the list", 3 * len(asked))


def test_no_cache_hands_ones_answers_to_another(victim: Victim, attacked: Attacked) -> None:
    kate, marv, conversation = victim.user, victim.attacker, victim.conversation
    attempts = 0
    for method, path, token, status in calls(conversation):
        response = raw(kate, f"{method} {path}", "X-Forwarded-Host: a", "Cache-Control: only-if-cached", token=token)
        assert response.status_code == status
        if status in (200, 400) or ABSENT in path:
            assert response.headers["Cache-Control"] == "private, no-cache"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Type"] == "application/json"
        attempts += 1
    for path in ("/conversations", "/messages", f"/conversations?x={conversation['id']}.css"):
        assert conversation["id"] not in marv.send("GET", path).json().get("data", "")
        assert "max-age" not in marv.send("GET", path).headers["Cache-Control"]
        attempts += 2
    attacked(CONFIGURATION, "one user's answers asked for by another, past a cache", "private, no-cache", attempts)


OVERRIDES = [
    *("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "_method: DELETE"),
    *("X-Original-Method: DELETE", "X-Forwarded-Method: DELETE", "X-HTTP-Method-Override: PUT"),
]


def test_a_method_is_what_the_request_line_says(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    path = f"/conversations/{conversation['id']}"
    with nothing_changes(stack, kate):
        for header in OVERRIDES:
            assert raw(kate, f"GET {path}", header).status_code == 200
            assert rejected(raw(kate, f"POST {path}", header)) == NO_PATH
    attacked(CONFIGURATION, "headers that override the method", "not heeded", 2 * len(OVERRIDES))


METHODS = ["TRACE", "TRACK", "PATCH", "CONNECT", "PROPFIND", "COPY", "MOVE", "LOCK", "DEBUG", "PURGE", "FOO", "DELETE"]


def test_there_are_no_other_methods(stack: Stack, kevin: Client, attacked: Attacked) -> None:
    with nothing_changes(stack, kevin):
        for method in METHODS:
            assert rejected(raw(kevin, f"{method} /conversations", "X-Secret: echoed")) == NO_PATH
        head = raw(kevin, "HEAD /conversations")
        assert (head.status_code, head.content) == (404, b"")
    attacked(CONFIGURATION, "methods that are not listed: TRACE, CONNECT, PURGE, ...", "404", len(METHODS) + 1)


# What could be read as two requests, or as one of another length.
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
    "a chunk of no length": ["Transfer-Encoding: chunked", "X-Chunk: zz"],
    "NUL in a header": ["Content-Length: 5", "X-A: a\0b"],
    "a line end in a header": ["Content-Length: 5", "X-A: a\rX-B: b"],
    "Host twice": ["Content-Length: 5", "Host: evil.example"],
}


def test_no_request_is_smuggled_behind_another(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    base = urlsplit(kate.api_url)
    hidden = f"DELETE {base.path}/conversations/{conversation['id']} HTTP/1.1\r\nHost: {base.netloc}\r\n"
    hidden += f"Authorization: Bearer {kate.token}\r\n\r\n"
    with nothing_changes(stack, kate):
        for headers in SMUGGLED.values():
            chunk = b"zz\r\n" if "X-Chunk: zz" in headers else b"0\r\n\r\n"
            response = raw(kate, "POST /conversations", f"Content-Type: {JSON}", *headers, body=chunk + hidden.encode())
            # Of the server before the API, as API Gateway has one.
            assert response.status_code in (400, 501)
    attack = "request smuggling: lengths that contradict each other, malformed headers"
    attacked(
        CONFIGURATION, attack, "400 or 501 by the emulator's server; API Gateway's own is not shown", len(SMUGGLED)
    )


def test_headers_given_twice_are_not_taken_apart(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, marv, conversation = victim.user, victim.attacker, victim.conversation
    path, body = f"/conversations/{conversation['id']}", b'{"is_muted": true}'
    sized = f"Content-Length: {len(body)}"
    with nothing_changes(stack, kate, marv):
        for first, second in ((kate.token, marv.token), (marv.token, kate.token), ("nonsense", kate.token)):
            assert rejected(raw(kate, f"GET {path}", f"Authorization: Bearer {second}", token=first))[0] == 401
        contradicting = raw(kate, f"PUT {path}", f"Content-Type: {JSON}", "Content-Type: text/plain", sized, body=body)
        assert rejected(contradicting)[0] == 415
        stale = raw(kate, f"PUT {path}", f"Content-Type: {JSON}", 'If-Match: "1"', 'If-Match: "2"', sized, body=body)
        assert rejected(stale)[0] == 412
        starred = raw(kate, f"PUT {path}", f"Content-Type: {JSON}", "If-Match: *", 'If-Match: "1"', sized, body=body)
        assert rejected(starred)[0] == 400
    attacked(CONFIGURATION, "two Authorization, Content-Type or If-Match headers", "401, 415, 412, 400", 6)


def test_no_text_breaks_out_of_a_header(kevin: Client, attacked: Attacked) -> None:
    groups = [
        'a>;rel="next",<https://evil.example/>;rel="next"',
        "a%0d%0aSet-Cookie:x=1",
        'a\\r\\nX:y"',
        "a&limit=100&x=",
        "a\ud83d\ude00é".encode("utf-16", "surrogatepass").decode("utf-16"),
    ]
    for group in groups:
        for number in range(3):
            kevin.create(contact_id=str(number), group_id=group)
        page = kevin.send("GET", "/conversations", params={"limit": 1, "group_id": group})
        assert set(page.links) == {"next"}
        assert page.links["next"]["url"].startswith(f"{kevin.api_url}/conversations?limit=1&group_id=")
        assert page.headers.keys() & {"Set-Cookie", "X"} == set()
        (following,) = kevin.send("GET", page.links["next"]["url"]).json()["data"]
        assert (following["group_id"], following["contact_id"]) == (group, "1")
    attempts = len(groups)
    with_breaks = ["a%0d%0aSet-Cookie:%20x=1", "a%0aX:%20y", "a%E2%80%A8X:%20y", "a%C2%85X:%20y", "a%00"]
    for text in with_breaks:
        response = raw(kevin, f"GET /conversations?group_id={text}")
        assert rejected(response)[0] == 400
        assert response.headers.keys() & {"Set-Cookie", "X"} == set()
    attacked(CONFIGURATION, "header and response splitting by names that become links", "encoded or 400", attempts + 5)


def test_no_client_writes_a_line_of_the_logs(
    stack: Stack, kevin: Client, conversation: dict[str, Any], attacked: Attacked
) -> None:
    started = time.time()
    forged = '{"level":"ERROR","message":"forged"}'
    line = quote(f"\n{forged}\n", safe="")
    header = f"\\n{forged}"
    named = ["X-Request-Id", "X-Amzn-RequestId", "X-Amz-Request-Id", "User-Agent", "X-Correlation-Id"]
    headers = [f"{name}: forged{header}" for name in named] + ["X-Amzn-Trace-Id: Root=forged;Parent=forged;Sampled=1"]
    bodies = [
        json.dumps({"contact_id": f"x\n{forged}"}).encode(),
        json.dumps({f"x\n{forged}": "x"}).encode(),
        f"\n{forged}\n".encode(),
    ]
    responses = [
        raw(kevin, f"GET /conversations?group_id={line}", *headers),
        raw(kevin, f"GET /conversations?{line}=1", *headers),
        raw(kevin, f"GET /conversations/{line}", *headers),
        raw(kevin, f"GET /conversations/{conversation['id']}", *headers, f"If-None-Match: {header}"),
        raw(kevin, f"GET /messages?conversation_id={line}", *headers),
        *(
            raw(
                kevin,
                "POST /conversations",
                *headers,
                f"Content-Type: {JSON}",
                f"Content-Length: {len(body)}",
                body=body,
            )
            for body in bodies
        ),
        kevin.send("POST", "/messages", json={"conversation_id": conversation["id"], "message": f"x\n{forged}"}),
    ]
    request_ids = {response.headers["X-Request-Id"] for response in responses}
    assert not [id for id in request_ids if "forged" in id]
    assert {response.status_code for response in responses} == {400, 404, 201}
    assert wait_until(lambda: request_ids <= {json.loads(told).get("request_id") for told in stack.logged(started)})
    lines = stack.logged(started)
    assert not [told for told in lines if "forged" in told or kevin.user_id in told]
    assert all(isinstance(json.loads(told), dict) for told in lines)
    outcome = "each call is one line of JSON, in which nothing of it stands"
    attacked(CONFIGURATION, "log injection by query, path, headers and bodies", outcome, len(responses))


# API9: what is served beside what is told.


def test_what_is_deployed_is_what_the_contract_tells(stack: Stack, attacked: Attacked) -> None:
    gateway, api_id = stack.aws("apigateway"), stack.outputs()["ApiId"]
    served = {
        (method, resource["path"])
        for resource in gateway.get_resources(restApiId=api_id, limit=500, embed=["methods"])["items"]
        for method in resource.get("resourceMethods", {})
        if method != "OPTIONS"
    }
    contract = json.loads((ROOT / "openapi.json").read_text())["paths"]
    told = {
        (method.upper(), path) for path, methods in contract.items() for method in methods if method != "parameters"
    }
    # The page and its files, which tell of the others.
    assert served - told == {("GET", "/docs"), ("GET", "/docs/{asset}")}
    assert told <= served
    assert [stage["stageName"] for stage in gateway.get_stages(restApiId=api_id)["item"]] == ["v1"]
    outcome = "only what openapi.json has, and the page that shows it"
    attacked(INVENTORY, "routes and stages that nobody was told of", outcome, len(served))


HIDDEN = [
    *(
        "openapi.json",
        "swagger",
        "swagger.json",
        "api-docs",
        "redoc",
        "graphql",
        "health",
        "healthz",
        "status",
        "metrics",
    ),
    *("admin", "debug", "actuator", "actuator/env", "console", "config", "env", ".env", ".git/config", "robots.txt"),
    *(
        "server-status",
        "phpinfo.php",
        "wp-login.php",
        "backup.zip",
        "v1",
        "v2/conversations",
        "v1/conversations",
        "test",
    ),
    *(
        "internal/conversations",
        "conversations.json",
        "conversations.bak",
        "conversation",
        "Conversations",
        "CONVERSATIONS",
    ),
    *("conversations;v=2", "conversations%00", "conversations%20", "conversations/export", "conversations/x/messages"),
    *(
        "%2e%2e/conversations",
        "../v1/conversations",
        "..%2fconversations",
        "./conversations",
        "users/harry/conversations",
    ),
    *(
        "docs/../conversations",
        "docs/%2e%2e%2fapp.py",
        "docs/..%5capp.py",
        "docs/app.py",
        "docs/page.html%00",
        "sandbox",
    ),
    *("2015-03-31/functions", "_aws/execute-api", "latest/meta-data", "conversations/search", "messages/export", "me"),
]


def test_nothing_is_found_by_guessing(kevin: Client, attacked: Attacked) -> None:
    for path in HIDDEN:
        response = raw(kevin, f"GET /{path}")
        assert rejected(response) in (NO_PATH, (404, "id: no such conversation"), (404, "id: no such message")), path
    attacked(INVENTORY, "paths that others forget: consoles, backups, specifications, traversal", "404", len(HIDDEN))


def test_a_path_written_otherwise_asks_for_the_same_token(stack: Stack, victim: Victim, attacked: Attacked) -> None:
    kate, conversation = victim.user, victim.conversation
    id = conversation["id"]
    paths = [
        "//conversations",
        "/conversations/",
        "///conversations//",
        f"/conversations/{id}/",
        f"/conversations%2f{id}",
    ]
    paths += [f"//conversations//{id}", f"/%63onversations/{id}", "/conversations?", "/conversations#x"]
    with nothing_changes(stack, kate):
        for path in paths:
            for token in ("", "nonsense"):
                assert rejected(raw(kate, f"GET {path}", token=token), id)[0] in (401, 404), path
            assert raw(kate, f"GET {path}").status_code in (200, 400, 404), path
    outcome = "401 without a token; with it, 404 or what the plain path gives"
    attacked(INVENTORY, "doubled, trailing and encoded slashes, other spellings", outcome, 3 * len(paths))


STAGES = ["v2", "V1", "v0", "v1beta", "prod", "Prod", "Stage", "dev", "test", "$default", "v1%20", "", "v1.", "*"]


def test_there_is_no_other_version(stack: Stack, kevin: Client, attacked: Attacked) -> None:
    root = stack.api_url.removesuffix("/v1")
    for stage in STAGES:
        other = Client(f"{root}/{stage}", kevin.token)
        response = raw(other, "GET /conversations")
        # API Gateway's own, before there is a deployment that could say how it looks.
        assert (response.status_code, response.json()) == (403, {"message": "Forbidden"}), stage
        other.close()
    attacked(INVENTORY, "other versions and stages", "403, by API Gateway before any of ours", len(STAGES))


# API10: what arrives by the bus.

ELSEWHERE = "<another user's conversation>"
# What to change of a good event, and what the reason starts with. KEVIN and HARRY are their user ids.
HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a user with another one's conversation": ({"user_id": "HARRY"}, "conversation_id: no such conversation"),
    "another one's conversation": ({"conversation_id": ELSEWHERE}, "conversation_id: no such conversation"),
    "the partition of orders": ({"user_id": "purge"}, "conversation_id: no such conversation"),
    "the partition of keys": ({"user_id": "idempotency#KEVIN"}, "user_id: must be"),
    "a user with a group": ({"user_id": "KEVIN#friends"}, "user_id: must be"),
    "a user with a line end": ({"user_id": 'KEVIN\n{"message":"forged"}'}, "user_id: must be"),
    "a user with a space": ({"user_id": " KEVIN"}, "user_id: must be"),
    "no user": ({"user_id": None}, "user_id: must be"),
    "several users": ({"user_id": ["KEVIN", "HARRY"]}, "user_id: must be"),
    "a user that never was": ({"user_id": "nobody"}, "conversation_id: no such conversation"),
    "a user that looks alike": ({"user_id": "KEVIN\u200b"}, "conversation_id: no such conversation"),
    "a confused conversation": ({"conversation_id": f"{ABSENT}\n"}, "conversation_id: must be an id"),
    "no conversation": ({"conversation_id": {"S": ABSENT}}, "conversation_id: must be an id"),
    "no contact": ({"contact_id": None}, "contact_id: must be"),
    "a contact with a line end": ({"contact_id": 'x\n{"message":"forged"}'}, "contact_id: must be"),
    "attributes of the row": ({"id": ABSENT, "created_at": 1, "version": 9}, "id: unknown or read-only"),
    "a prototype": ({"__proto__": {"contact_id": "x"}}, "__proto__: unknown or read-only"),
    "no text": ({"message": ""}, "message: must be"),
    "too long a text": ({"message": "x" * 10_001}, "message: must be"),
    "a control character": ({"message": "\x1b]0;forged\x07"}, "message: must be"),
    "a lone surrogate": ({"message": "\ud800"}, "message: must be"),
    "one in a name": ({"\ud800": "x"}, "parameter names: must be valid Unicode"),
    "too many attachments": ({"attachments": ["x"] * 33}, "attachments: must be"),
    "deep nesting": ({"attachments": json.loads("[" * 200 + "]" * 200)}, "attachments: must be"),
    "100 KB": ({"x": "漢" * 30_000}, "x: unknown or read-only"),
}


def test_a_hostile_event_is_a_dead_letter_and_nothing_else(
    stack: Stack, kevin: Client, harry: Client, conversation: dict[str, Any], attacked: Attacked
) -> None:
    started = time.time()
    foreign = harry.create(contact_id="kevin")
    good = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "marv", "message": "Hi!"}
    names = {"KEVIN": kevin.user_id, "HARRY": harry.user_id, ELSEWHERE: foreign["id"]}

    def of(changes: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(good | changes)
        for name, id in names.items():
            text = text.replace(name, id)
        event: dict[str, Any] = json.loads(text)
        return event

    bad = [of(changes) for changes, _ in HOSTILE.values()]
    dead_letters: list[dict[str, Any]] = []
    with nothing_changes(stack, kevin, harry):
        # Each that runs at the same time would have the emulator start another process.
        for start in range(0, len(bad), 3):
            few = bad[start : start + 3]
            put_events(stack, few)
            dead_letters += received_letters(stack, len(few))
    told = {json.dumps(dead_letter["event"]["detail"]): dead_letter["reason"] for dead_letter in dead_letters}
    assert len(dead_letters) == len(told) == len(bad)
    for detail, (name, (_, reason)) in zip(bad, HOSTILE.items(), strict=True):
        assert told[json.dumps(detail)].startswith(reason), name
    put_events(stack, [good])
    assert wait_until(lambda: [message["message"] for message in kevin.messages()["data"]] == ["Hi!", "hello"])
    lines = [json.loads(line) for line in stack.logged(started)]
    assert not [line for line in lines if "forged" in str(line) or kevin.user_id in str(line)]
    calls = [line for line in lines if line.get("endpoint") == "receive_message"]
    assert len(calls) == len(bad) + 1
    outcome = "a dead letter with the reason; nothing stored, nothing in the logs, and good ones go on"
    attack = "events with foreign users and conversations, inner partitions, forged attributes and log lines, too much"
    attacked(EVENTS, attack, outcome, len(bad))


def test_an_event_that_comes_twice_or_is_used_as_a_key_gives_nothing_more(
    stack: Stack, kevin: Client, conversation: dict[str, Any], attacked: Attacked
) -> None:
    detail = {"user_id": kevin.user_id, "conversation_id": conversation["id"], "contact_id": "marv", "message": "Hi!"}
    event = {"id": ids.new(time.time_ns()), "detail-type": "message.received", "detail": detail}
    functions, name = stack.aws("lambda"), stack.function("ReceiveMessage")

    def deliver(event: dict[str, Any]) -> None:
        assert "FunctionError" not in functions.invoke(FunctionName=name, Payload=json.dumps(event))

    deliver(event)
    with nothing_changes(stack, kevin):
        deliver(event)
        deliver(event | {"detail": detail | {"message": "another"}})
        body = {"conversation_id": conversation["id"], "message": "Hi!"}
        taken = kevin.send("POST", "/messages", json=body, headers={"Idempotency-Key": str(event["id"])})
        assert rejected(taken)[0] == 422
    (dead_letter,) = received_letters(stack, 1)
    assert dead_letter["reason"].startswith("Idempotency-Key: ")
    attacked(EVENTS, "an event twice, with another detail, and its id as a user's key", "stored once; 422", 4)


def put_events(stack: Stack, details: list[dict[str, Any]]) -> None:
    bus = stack.outputs()["EventBusName"]
    entries = [
        {"Source": "evil", "DetailType": "message.received", "Detail": json.dumps(detail), "EventBusName": bus}
        for detail in details
    ]
    assert stack.aws("events").put_events(Entries=entries)["FailedEntryCount"] == 0


def received_letters(stack: Stack, count: int) -> list[dict[str, Any]]:
    """So many dead letters, taken out of their queue."""
    queue, url = stack.aws("sqs"), stack.outputs()["DeadLettersUrl"]
    dead_letters: list[dict[str, Any]] = []

    def collect() -> bool:
        for dead_letter in queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
            "Messages", []
        ):
            dead_letters.append(json.loads(dead_letter["Body"]))
            queue.delete_message(QueueUrl=url, ReceiptHandle=dead_letter["ReceiptHandle"])
        return len(dead_letters) >= count

    assert wait_until(collect), dead_letters
    return dead_letters
