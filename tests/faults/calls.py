"""Calls of every function, each with what it does to a user's things in a plain model."""

import copy
import functools
import itertools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests import handlers, tables
from tests.handlers import JSON, request

# What a user has, as plain as can be: see `view`.
View = dict[str, Any]
# What a call may answer, and what it leaves. 0 stands for the answer of a function that answers nobody.
Effect = tuple[int, View]

# A purge begins nothing in the last 50, and would go on trying for all of its five minutes.
_SECONDS_OF_PURGES = 56
_LEFT, _LEFT_MESSAGES = "left", 30


class Home(NamedTuple):
    """What a user has before a call: a conversation with two messages, the second pinned, and another in a group."""

    user: str
    conversation: str
    etag: str
    message: str
    message_etag: str
    pinned: str
    other: str
    other_message: str


def furnish(user: str) -> Home:
    """Makes it."""
    home, rows = _furnished()
    tables.put_rows(json.loads(json.dumps(rows).replace(home.user, user)))
    return home._replace(user=user)


@functools.cache
def _furnished() -> tuple[Home, dict[str, list[dict[str, Any]]]]:
    """What the functions make for one user, to be copied for others: no two share a partition."""
    user = "somebody"
    conversation = handlers.create(user, contact_id="harry")
    message, pinned = (handlers.send(conversation, text, user) for text in ("hello", "there"))
    handlers.update(conversation, user, pinned_message_id=pinned["id"])
    other = handlers.create(user, contact_id="marv", group_id="friends")
    other_message = handlers.send(other, "hands off", user)
    etag = handlers.call("retrieve_conversation", user=user, id=conversation["id"]).headers["ETag"]
    ids = (conversation["id"], etag, message["id"], '"1"', pinned["id"], other["id"], other_message["id"])
    return Home(user, *ids), tables.user_rows(user)


def view(home: Home, dead_letters: Sequence[str]) -> View:
    """What the user has now, and whether there is a dead letter of *letters* for them.

    What was made since is called new; tags are not told, but whether they have changed. Of the messages that are left
    of deleted conversations, those that were put there to be purged are told, and how many nobody is going to purge.
    """
    found = tables.user_rows(home.user)
    ordered = {tombstone["id"]["S"].partition("#")[2] for tombstone in found["tombstones"]}
    existing = {row["id"]["S"] for row in found["conversations"]}
    messages = [row for row in found["messages"] if row["conversation_id"]["S"] in existing]
    left = [row for row in found["messages"] if row not in messages]
    new = [row["id"]["S"] for row in found["conversations"] + messages if row["id"]["S"] not in home]
    names = dict(zip(home, home, strict=True)) | {id: f"new {number}" for number, id in enumerate(sorted(new))}
    return {
        "conversations": {names[row["id"]["S"]]: _conversation(home, row) for row in found["conversations"]},
        "messages": {names[row["id"]["S"]]: _message(home, row) for row in messages},
        "tombstones": ordered,
        "left": {row["message"]["S"] for row in left if row["message"]["S"].startswith(_LEFT)},
        "forgotten": sum(row["conversation_id"]["S"] not in ordered for row in left),
        "letters": any(home.user in dead_letter for dead_letter in dead_letters),
    }


def _conversation(home: Home, row: dict[str, Any]) -> dict[str, Any]:
    known = {home.conversation: home.etag}
    archived = {row["is_archived"]["N"] == "1", "archived_at" in row}
    return {
        "with": row["contact_id"]["S"],
        "muted": row["is_muted"]["N"] == "1",
        "archived": archived.pop() if len(archived) == 1 else "half",
        "pinned": row["pinned_message_id"]["S"] if "pinned_message_id" in row else None,
        "active": "last_active_at" in row,
        "changed": row["id"]["S"] in known and f'"{row["version"]["N"]}"' != known[row["id"]["S"]],
    }


def _message(home: Home, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "in": row["conversation_id"]["S"],
        "said": row["message"]["S"],
        "by": row["contact_id"]["S"] if "contact_id" in row else None,
        "read": "read_at" in row,
        "changed": row["id"]["S"] == home.message and f'"{row["version"]["N"]}"' != home.message_etag,
    }


@dataclass(frozen=True)
class Call:
    """A call of *function*: its *event* from a home, and its *effect* on what the user then has."""

    name: str
    function: str
    event: Callable[[Home], Any]
    effect: Callable[[Home, View], Effect]
    # What has to be there besides.
    prepare: Callable[[Home], object] = lambda _: None
    # After which it is stopped, if not after its function's timeout.
    seconds: float | None = None
    # Whether it may be repeated without doing more than once what it does.
    is_repeatable: bool = True
    # How far it may have come when it failed, other than nothing or all.
    may_be_between: Callable[[View, View, View], bool] = field(default=lambda *_: False)

    @property
    def is_http(self) -> bool:
        """Whether it has an HTTP answer."""
        return self.function in handlers.ENDPOINTS


def _http(endpoint: str, body: Callable[[Home], object] | None = None, **headers: str) -> Callable[[Home], Any]:
    """An event of *endpoint*: for the first conversation or message, where it has an id in its path."""

    def event(home: Home) -> Any:
        id = {"conversation": home.conversation, "message": home.message}.get(endpoint.partition("_")[2])
        needs_id = id is not None and not endpoint.startswith("create")
        given = {name: value.format(**home._asdict()) for name, value in headers.items()}
        named = {"key": "Idempotency-Key", "match": "If-Match"}
        return request(
            endpoint,
            user=home.user,
            id=id if needs_id else None,
            body=json.dumps(body(home)) if body else None,
            content_type=JSON,
            headers={named[name]: value for name, value in given.items()},
        )

    return event


def _listed(endpoint: str, **query: str) -> Callable[[Home], Any]:
    def event(home: Home) -> Any:
        given = {name: [value.format(**home._asdict())] for name, value in query.items()}
        return request(endpoint, user=home.user, query=given or None)

    return event


def _nothing(_home: Home, view: View) -> Effect:
    return 200, view


def _read_conversation(home: Home, view: View) -> Effect:
    return (200 if home.conversation in view["conversations"] else 404), view


def _read_message(home: Home, view: View) -> Effect:
    return (200 if home.message in view["messages"] else 404), view


def _create(_home: Home, view: View) -> Effect:
    made = dict.fromkeys(("muted", "archived", "active", "changed"), False) | {"with": "kate", "pinned": None}
    return 201, view | {"conversations": view["conversations"] | {_next_new(view): made}}


def _next_new(view: View) -> str:
    taken = view["conversations"].keys() | view["messages"].keys()
    return next(name for name in map("new {}".format, itertools.count()) if name not in taken)


def _change(only: bool = False, **changes: object) -> Callable[[Home, View], Effect]:
    """Changes the conversation, *only* if it is as it was."""

    def effect(home: Home, view: View) -> Effect:
        conversations = view["conversations"]
        if home.conversation not in conversations:
            return 404, view
        if only and conversations[home.conversation]["changed"]:
            return 412, view
        now = conversations[home.conversation] | changes | {"changed": True}
        return 200, view | {"conversations": conversations | {home.conversation: now}}

    return effect


def _pin(home: Home, view: View) -> Effect:
    if home.conversation in view["conversations"] and home.message not in view["messages"]:
        return 400, view
    return _change(pinned=home.message)(home, view)


def _delete(only: bool = False) -> Callable[[Home, View], Effect]:
    def effect(home: Home, view: View) -> Effect:
        status, _ = _change(only)(home, view)
        if status != 200:
            return status, view
        gone = home.conversation
        return 204, view | {
            "conversations": {id: found for id, found in view["conversations"].items() if id != gone},
            "messages": {id: found for id, found in view["messages"].items() if found["in"] != gone},
            "tombstones": {*view["tombstones"], gone},
        }

    return effect


def _say(by: str | None = None) -> Callable[[Home, View], Effect]:
    def effect(home: Home, view: View) -> Effect:
        status, after = _change(active=True)(home, view)
        if status == 404:
            return (0, _letter(view)) if by else (404, view)
        said = {"in": home.conversation, "said": "merry christmas", "by": by, "read": False, "changed": False}
        return (0 if by else 201), after | {"messages": view["messages"] | {_next_new(view): said}}

    return effect


def _letter(view: View) -> View:
    return view | {"letters": True}


def _mark_read(only: bool = False) -> Callable[[Home, View], Effect]:
    def effect(home: Home, view: View) -> Effect:
        if home.message not in view["messages"]:
            return 404, view
        message = view["messages"][home.message]
        if only and message["changed"]:
            return 412, view
        now = message | {"read": True, "changed": True}
        return 200, view | {"messages": view["messages"] | {home.message: now}}

    return effect


def _delete_message(home: Home, view: View) -> Effect:
    if home.message not in view["messages"]:
        return 404, view
    kept = {id: found for id, found in view["messages"].items() if id != home.message}
    return 204, view | {"messages": kept}


def _delete_pinned_message(home: Home, view: View) -> Effect:
    of_pinned = home._replace(message=home.pinned)
    status, after = _delete_message(of_pinned, view)
    if status == 204 and view["conversations"][home.conversation]["pinned"] == home.pinned:
        after = _change(pinned=None)(home, after)[1]
    return status, after


def _leave_messages(home: Home) -> None:
    """A conversation that was deleted, with many messages that are yet to be purged."""
    handlers.call("delete_conversation", user=home.user, id=home.conversation)
    for number in range(_LEFT_MESSAGES):
        tables.put_message(home.user, home.conversation, f"{_LEFT} {number}")


def _leave_messages_long_ago(home: Home) -> None:
    _leave_messages(home)
    tables.age_tombstones()


def _purge(_home: Home, view: View) -> Effect:
    return 0, view | {"left": set()}


def _sweep(home: Home, view: View) -> Effect:
    return 0, view | {"left": set(), "tombstones": view["tombstones"] - {home.conversation}, "forgotten": 0}


def _is_partly_purged(before: View, after: View, found: View) -> bool:
    # The order stays as long as there is anything to purge.
    rest: View = {"left": set(), "tombstones": set()}
    return (
        found | rest == after | rest
        and found["left"] <= before["left"]
        and (found["tombstones"] == before["tombstones"] or not found["left"])
    )


def _received(home: Home) -> Any:
    sample = handlers.event("receive_message")
    said = {"user_id": home.user, "conversation_id": home.conversation, "contact_id": "harry"}
    sample["detail"] = said | {"message": "merry christmas"}
    return sample | {"id": home.user}


def _received_for_nobody(home: Home) -> Any:
    return _received(home._replace(conversation="0" * 16))


def _removed(home: Home) -> Any:
    sample = copy.deepcopy(handlers.event("purge_messages"))
    (record,) = sample["Records"]
    record["dynamodb"]["Keys"] = {"user_id": {"S": home.user}, "id": {"S": home.conversation}}
    return sample


def _wants(**attributes: object) -> Callable[[Home], object]:
    return lambda home: {
        name: value.format(**home._asdict()) if isinstance(value, str) else value for name, value in attributes.items()
    }


_SAID = _wants(conversation_id="{conversation}", message="merry christmas")
_READ = _wants(read_at=1_795_374_369)

CALLS = [
    Call("list all conversations", "list_conversations", _listed("list_conversations"), _nothing),
    Call("list by a flag", "list_conversations", _listed("list_conversations", archived="false"), _nothing),
    Call("list a group", "list_conversations", _listed("list_conversations", group_id="friends"), _nothing),
    Call(
        "create a conversation",
        "create_conversation",
        _http("create_conversation", _wants(contact_id="kate")),
        _create,
        is_repeatable=False,
    ),
    Call(
        "create a conversation with a key",
        "create_conversation",
        _http("create_conversation", _wants(contact_id="kate"), key="once"),
        _create,
    ),
    Call("retrieve a conversation", "retrieve_conversation", _http("retrieve_conversation"), _read_conversation),
    Call("mute", "update_conversation", _http("update_conversation", _wants(is_muted=True)), _change(muted=True)),
    Call(
        "archive if unchanged",
        "update_conversation",
        _http("update_conversation", _wants(archived_at=1_795_374_369), match="{etag}"),
        _change(only=True, archived=True),
    ),
    Call(
        "pin a message",
        "update_conversation",
        _http("update_conversation", _wants(pinned_message_id="{message}")),
        _pin,
    ),
    Call("delete a conversation", "delete_conversation", _http("delete_conversation"), _delete()),
    Call(
        "delete a conversation if unchanged",
        "delete_conversation",
        _http("delete_conversation", match="{etag}"),
        _delete(only=True),
    ),
    Call("list all messages", "list_messages", _listed("list_messages"), _nothing),
    Call(
        "list the messages of a conversation",
        "list_messages",
        _listed("list_messages", conversation_id="{conversation}"),
        _read_conversation,
    ),
    Call("send a message", "create_message", _http("create_message", _SAID), _say(), is_repeatable=False),
    Call("send a message with a key", "create_message", _http("create_message", _SAID, key="once"), _say()),
    Call("retrieve a message", "retrieve_message", _http("retrieve_message"), _read_message),
    Call("mark a message as read", "update_message", _http("update_message", _READ), _mark_read()),
    Call(
        "mark a message as read if unchanged",
        "update_message",
        _http("update_message", _READ, match="{message_etag}"),
        _mark_read(only=True),
    ),
    Call("delete a message", "delete_message", _http("delete_message"), _delete_message),
    Call(
        "delete a pinned message",
        "delete_message",
        lambda home: _http("delete_message")(home._replace(message=home.pinned)),
        _delete_pinned_message,
    ),
    Call("receive a message", "receive_message", _received, _say("harry")),
    Call(
        "receive a message for nobody",
        "receive_message",
        _received_for_nobody,
        lambda _, view: (0, _letter(view)),
    ),
    Call(
        "purge",
        "purge_messages",
        _removed,
        _purge,
        _leave_messages,
        _SECONDS_OF_PURGES,
        may_be_between=_is_partly_purged,
    ),
    Call(
        "sweep",
        "sweep_purges",
        lambda _: handlers.event("sweep_purges"),
        _sweep,
        _leave_messages_long_ago,
        _SECONDS_OF_PURGES,
        may_be_between=_is_partly_purged,
    ),
]


class Rival(NamedTuple):
    """What somebody else does in between: *act* does it, and *effect* says what that does in the model."""

    name: str
    act: Callable[[Home], object]
    effect: Callable[[Home, View], Effect]


RIVALS = [
    Rival(
        "another device archives",
        lambda home: handlers.update({"id": home.conversation}, home.user, archived_at=1_795_374_369),
        _change(archived=True),
    ),
    Rival(
        "another device deletes the conversation",
        lambda home: handlers.call("delete_conversation", user=home.user, id=home.conversation),
        _delete(),
    ),
    Rival(
        "another device deletes the message",
        lambda home: handlers.call("delete_message", user=home.user, id=home.message),
        _delete_message,
    ),
    Rival(
        "another device marks the message as read",
        lambda home: handlers.call("update_message", user=home.user, id=home.message, body="read_at=1"),
        _mark_read(),
    ),
]


def user_names() -> Callable[[], str]:
    """Names of users that nobody has had."""
    numbers = itertools.count()
    return lambda: f"user-{os.getpid()}-{next(numbers)}"
