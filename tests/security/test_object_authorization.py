"""API1: ids, keys and group names of other users give no access to their conversations and messages."""

import json
import time
from typing import Any
from urllib.parse import quote

import pytest
import requests
from coherent import ids

from tests.security.attacks import NO_PATH, OBJECT_AUTHORIZATION, RecordAttack, Victim, unchanged
from tests.stack import Client, Stack, leak_free_error, observable, send_raw

# Each place where a client can send an id: method, path, arguments and the expected status.
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
    "as the message to pin in the victim's conversation": (
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
    "as a cursor of conversations": ("GET", "/conversations?starting_after=CONVERSATION", {}, 200),
    "as a cursor of messages": ("GET", "/messages?ending_before=MESSAGE", {}, 200),
    "as a cursor in the attacker's conversation": (
        "GET",
        "/messages?conversation_id=OWN&ending_before=MESSAGE",
        {},
        200,
    ),
    "as a group": ("GET", "/conversations?group_id=CONVERSATION", {}, 200),
}


@pytest.mark.parametrize("position", POSITIONS)
def test_foreign_id_is_indistinguishable_from_absent(
    position: str, stack: Stack, victim: Victim, record_attack: RecordAttack
) -> None:
    *call, status = POSITIONS[position]

    def attack(conversation_id: str, message_id: str) -> requests.Response:
        text = json.dumps(call)
        own_id = victim.attackers_conversation["id"]
        for name, id in (("CONVERSATION", conversation_id), ("MESSAGE", message_id), ("OWN", own_id)):
            text = text.replace(name, id)
        method, path, arguments = json.loads(text)
        return victim.attacker.send(method, path, **arguments)

    secrets = (victim.conversation["id"], victim.message["id"], victim.user.user_id)
    with unchanged(stack, victim.user, victim.attacker):
        # Absent ids of the same microsecond: no other row sorts between a foreign id and its absent twin.
        absent_ids = [f"{id[:9]}0000000" for id in secrets[:2]]
        foreign, absent = attack(*secrets[:2]), attack(*absent_ids)
    # The Link header repeats the cursor of the request.
    for id, absent_id in zip(secrets, absent_ids, strict=False):
        if link := foreign.headers.get("Link"):
            foreign.headers["Link"] = link.replace(id, absent_id)
    assert observable(foreign) == observable(absent)
    assert foreign.status_code == status
    if status == 200:
        assert not [secret for secret in secrets if secret in foreign.text]
        outcome = "used as a position only: same response as for an absent id"
    else:
        leak_free_error(foreign, *secrets)
        outcome = f"{status}, headers and body equal to the response for an absent id"
    record_attack(OBJECT_AUTHORIZATION, f"another user's id: {position}", outcome)


def test_idempotency_keys_are_per_user(stack: Stack, kevin: Client, harry: Client, record_attack: RecordAttack) -> None:
    headers = {"Idempotency-Key": ids.new(time.time_ns())}
    kevins = kevin.send("POST", "/conversations", json={"contact_id": "marv"}, headers=headers).json()
    with unchanged(stack, kevin):
        equal = harry.send("POST", "/conversations", json={"contact_id": "marv"}, headers=headers)
        other = harry.send("POST", "/conversations", json={"contact_id": "kate"}, headers=headers)
    assert equal.status_code == 201
    assert equal.json()["id"] != kevins["id"]
    assert "Idempotent-Replayed" not in equal.headers
    # harry's own first request used the key.
    assert leak_free_error(other)[0] == 422
    record_attack(
        OBJECT_AUTHORIZATION, "another user's Idempotency-Key, with equal attributes", "201, a new conversation"
    )


def test_internal_rows_are_not_conversations(stack: Stack, kevin: Client, record_attack: RecordAttack) -> None:
    # A key in the format of an id.
    key = ids.new(time.time_ns())
    kevin.send("POST", "/conversations", json={"contact_id": "marv"}, headers={"Idempotency-Key": key})
    paths = [key, "purge", "idempotency", quote(f"idempotency#{kevin.user_id}", safe=""), f"{kevin.user_id}%23{key}"]
    calls: list[tuple[str, dict[str, bool] | None]] = [("GET", None), ("PUT", {"is_muted": True}), ("DELETE", None)]
    with unchanged(stack, kevin):
        for path in paths:
            for method, body in calls:
                response = kevin.send(method, f"/conversations/{path}", json=body)
                assert leak_free_error(response, kevin.user_id) == (404, "id: no such conversation")
        listed = kevin.send("GET", "/messages", params={"conversation_id": key})
        assert leak_free_error(listed) == (404, "conversation_id: no such conversation")
    attempts = len(paths) * len(calls) + 1
    attack = "keys of internal rows as ids: purge, idempotency#..., a key in the format of an id"
    record_attack(OBJECT_AUTHORIZATION, attack, "404", attempts)


def test_group_name_cannot_select_another_partition(
    stack: Stack, kevin: Client, harry: Client, conversation: dict[str, Any], record_attack: RecordAttack
) -> None:
    names = ["friends", "#friends", f"{kevin.user_id}#friends", f"#{kevin.user_id}#friends", "*", "friends#", "%"]
    with unchanged(stack, kevin):
        for name in names:
            assert harry.list(group_id=name)["data"] == []
            own = harry.create(group_id=name)
            assert harry.list(group_id=name)["data"] == [own]
            assert harry.list(group_id=f"{kevin.user_id}#{name}x")["data"] == []
        assert kevin.list(group_id="friends")["data"] == [conversation]
    attack = "group names with '#' and another user's id"
    record_attack(OBJECT_AUTHORIZATION, attack, "plain values of the user's own", 3 * len(names))


LOOK_ALIKES = [
    "caf\u00e9",
    "cafe\u0301",
    "Caf\u00e9",
    "c\u0430f\u00e9",
    "\uff43af\u00e9",
    "\uff43\uff41\uff46\uff45",
    "\U0001d41caf\u00e9",
    "caf\u200b\u00e9",
    "caf\u00ad\u00e9",
    "caf\u00e9\u200d",
    "\u202ecaf\u00e9",
    "cafe",
    "cafe%00",
    "cafe\\n",
    "cafe.",
    "cafe#",
]


def test_look_alike_names_are_different_names(kevin: Client, record_attack: RecordAttack) -> None:
    created = {name: kevin.create(contact_id=name, group_id=name) for name in LOOK_ALIKES}
    assert len(created) == len(LOOK_ALIKES)
    for name, conversation in created.items():
        assert conversation["contact_id"] == conversation["group_id"] == name
        assert kevin.list(group_id=name)["data"] == [conversation]
    attack = "Unicode look-alikes as contacts and groups: other scripts, full width, zero width, NFC and NFD"
    record_attack(OBJECT_AUTHORIZATION, attack, "each is a separate value", 2 * len(LOOK_ALIKES))


LATIN = "aceopxABCEHKMOPTX"
# Cyrillic letters that look like LATIN.
CYRILLIC = "\u0430\u0441\u0435\u043e\u0440\u0445\u0410\u0412\u0421\u0415\u041d\u041a\u041c\u041e\u0420\u0422\u0425"


def disguised(id: str) -> list[str]:
    """Returns path segments that a lenient parser could take for *id*."""
    full_width = "".join(chr(ord(character) + 0xFEE0) for character in id)
    cyrillic = id.translate(dict(zip(map(ord, LATIN), CYRILLIC, strict=True)))
    zero_width = [f"{id}\u200b", f"\ufeff{id}", f"{id[:8]}\u200d{id[8:]}", f"{id}\u0301", f"\u202e{id[::-1]}"]
    unicode = [quote(name, safe="") for name in (full_width, cyrillic, *zero_width) if name != id]
    # The first character in two and in three bytes instead of one.
    overlong = [f"%C1%{0x80 | ord(id[0]) & 0x3F:X}{id[1:]}", f"%E0%81%{0x80 | ord(id[0]) & 0x3F:X}{id[1:]}"]
    suffixes = ("%00", "%0a", "%0d%0a", "%20", ".", ".json", ";v=1", "%3f", "%23", "%25", "*", "%2a")
    prefixed = [f"%20{id}", f"%00{id}", f"%0a{id}", f".%2f{id}", f"..%2f{id}", f"x%2f..%2f{id}", f"%5c{id}"]
    others = [f"../{id}/.", id.swapcase(), id[:15], f"{id}0", f"{{{id}}}", f"%2525{id}"]
    return [*unicode, *overlong, *(f"{id}{suffix}" for suffix in suffixes), *prefixed, *others]


def test_disguised_id_in_path_is_not_found(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    paths = disguised(victim.conversation["id"])
    with unchanged(stack, victim.user):
        for path in paths:
            for method in ("GET", "DELETE"):
                response = send_raw(victim.user, f"{method} /conversations/{path}")
                assert leak_free_error(response) in ((404, "id: no such conversation"), NO_PATH), path
    attack = "the user's own id in disguise: other scripts, zero width, overlong UTF-8, NUL, line ends, slashes, dots"
    record_attack(OBJECT_AUTHORIZATION, attack, "404", 2 * len(paths))


def test_disguised_id_in_query_or_body_is_rejected(stack: Stack, victim: Victim, record_attack: RecordAttack) -> None:
    kate, id, message_id = victim.user, victim.conversation["id"], victim.message["id"]
    attempts = 0
    with unchanged(stack, kate):
        for end in ("\n", "\u200b", "\x00", "\uff11", "#", " ", "\u0301", "'--", '"', "%00"):
            message = {"conversation_id": id + end, "message": "x"}
            pin = {"pinned_message_id": message_id + end}
            for name, response in (
                ("starting_after", kate.send("GET", "/conversations", params={"starting_after": id + end})),
                ("conversation_id", kate.send("GET", "/messages", params={"conversation_id": id + end})),
                ("conversation_id", kate.send("POST", "/messages", json=message)),
                ("conversation_id", kate.send("POST", "/messages", data=message)),
                ("pinned_message_id", kate.send("PUT", f"/conversations/{id}", json=pin)),
            ):
                status, text = leak_free_error(response, id)
                assert (status, text.partition(":")[0]) == (400, name), end
                attempts += 1
    record_attack(
        OBJECT_AUTHORIZATION, "disguised ids in query, body and cursor", "400 that names the parameter", attempts
    )
