"""A user who remembers all that was acknowledged, and holds every answer against it."""

import itertools
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

import requests

from tools.local import users
from tools.local.failure import Failure
from tools.results.findings import GHOST, LOST, WRONG, Findings

_METHODS = {"list": "GET", "retrieve": "GET", "create": "POST", "update": "PUT", "delete": "DELETE"}
_FLAGS = ("muted", "archived", "pinned")
_CONTACTS, _GROUPS = ("harry", "marv", "kate", "buzz"), (None, "family", "friends")
_TIMEOUT_SECONDS = 60
# What answers say of the present may be that much older, or newer where a clock was set.
_NOW_SECONDS = 60
# Conversations that others write to. They are never deleted, and have nothing done to them under a condition.
_INBOXES = 2
# Of what may be repeated.
_MOST_POSTS = 20
# What an index knows moments later, and what an event brings.
_FOLLOWS_SECONDS, _ARRIVES_SECONDS = 10, 60
_POLL_SECONDS = 0.2
_MOST_OF_A_PAGE = 30
_WALKED = 50
# How often, of each such call.
_REPEATED, _GONE, _INBOX, _ALL, _CONDITIONAL, _STALE = 0.15, 0.06, 0.15, 0.35, 0.4, 0.1


@dataclass
class Kept:
    """A resource as it was last acknowledged, and the number of its version."""

    resource: dict[str, Any]
    version: int = 1


class _Post(NamedTuple):
    call: str
    body: dict[str, Any]
    key: str
    resource: dict[str, Any]


class User:
    """Somebody with conversations, who makes one request at a time, the next once the last one is answered.

    `expect` may be called meanwhile by somebody else.
    """

    def __init__(self, api_url: str, sign_in: Callable[[], str], number: int, findings: Findings) -> None:
        """Signs in for a token, again once half of its time is over. Of the same *number*, they choose the same."""
        self._api_url, self._sign_in, self._findings = api_url, sign_in, findings
        self._random = random.Random(number)  # noqa: S311 - nobody is to be kept from guessing
        self._session = requests.Session()
        self._session.trust_env = False
        self._renew_at = 0.0
        self.id = ""
        self._conversations: dict[str, Kept] = {}
        self._messages: dict[str, Kept] = {}
        self.inboxes: list[str] = []
        self.deleted_conversations: list[str] = []
        # Those of deleted conversations as well.
        self._deleted_messages: list[str] = []
        self._posts: list[_Post] = []
        self._keys = itertools.count(1)
        # What others said, by the text of it, until it is met with.
        self._awaited: dict[str, dict[str, Any]] = {}
        self._shares = {
            self._list_conversations: 19,
            self._list_messages: 14,
            self._create_message: 19,
            self._retrieve_conversation: 9,
            self._update_conversation: 12,
            self._create_conversation: 8,
            self._retrieve_message: 6,
            self._update_message: 6,
            self._delete_message: 3,
            self._delete_conversation: 4,
        }
        self._never_made = list(self._shares)

    def begin(self) -> None:
        """Makes the conversations that others write to, and one for whatever may come. Raises `Failure`."""
        for _ in range(_INBOXES + 1):
            self._make_conversation()
        if len(self._conversations) <= _INBOXES:
            raise Failure("A user could not make the first conversations.")
        self.inboxes = list(self._conversations)[:_INBOXES]

    def close(self) -> None:
        """Lets go of the connection."""
        self._session.close()

    def act(self) -> None:
        """Makes one request: each call once, and then at random."""
        if not self._messages:
            self._create_message()
        elif self._never_made:
            self._never_made.pop(0)()
        else:
            (act,) = self._random.choices(list(self._shares), list(self._shares.values()))
            act()

    def expect(self, conversation_id: str, contact_id: str, message: str) -> None:
        """That somebody else says *message*, which nobody else ever does, in an inbox from now on."""
        self._awaited[message] = {"conversation_id": conversation_id, "contact": {"id": contact_id}}

    def message_ids(self) -> set[str]:
        """Those of all messages that there have to be."""
        return set(self._messages)

    def verify(self) -> None:
        """Walks each list to its end: it has to have all that was acknowledged, as it was, nothing else, and in order.

        Waits for what others said, and for the indexes.
        """
        deadline = time.monotonic() + _ARRIVES_SECONDS
        while self._awaited and time.monotonic() < deadline:
            for inbox in self.inboxes:
                self._adopt(self._walk("list_messages", {"conversation_id": inbox}, len(self._messages)))
            time.sleep(_POLL_SECONDS if self._awaited else 0)
        self._findings.wrong(LOST, "receive_message", list(self._awaited), "never arrived")
        self._verify("list_conversations", {}, self._conversations, 0)
        for id in self._conversations:
            self._verify("list_messages", {"conversation_id": id}, self._of(id), 0)
        until = time.monotonic() + _FOLLOWS_SECONDS
        self._verify("list_messages", {}, self._messages, until)
        flags = [dict(zip(_FLAGS, values, strict=True)) for values in itertools.product((None, True, False), repeat=3)]
        for wanted, group in itertools.product(flags, (None, "friends")):
            expected = {id: kept for id, kept in self._conversations.items() if _fits(kept.resource, wanted, group)}
            self._verify("list_conversations", _filter(wanted, group), expected, until)
        for id in self.deleted_conversations:
            self._call("retrieve_conversation", f"/conversations/{id}", 404)
            self._call("list_messages", f"/messages?conversation_id={id}", 404)
        self._findings.count("conversations", len(self._conversations))
        self._findings.count("messages", len(self._messages))

    def _verify(self, call: str, query: dict[str, str], expected: Mapping[str, Kept], until: float) -> None:
        """An index may follow *until* then."""
        wanted = {id: kept.resource for id, kept in expected.items()}
        while (found := self._walk(call, query, len(expected))) is not None:
            if {one["id"]: one for one in found} == wanted or time.monotonic() >= until:
                self._compare(call, expected, found)
                return
            time.sleep(_POLL_SECONDS)

    def _walk(self, call: str, query: dict[str, str], many: int) -> list[dict[str, Any]] | None:
        """All pages by their links, or somewhat more than so *many*; None where one was not answered."""
        found: list[dict[str, Any]] = []
        url = f"/{_noun(call)}?{urlencode(query | {'limit': str(_WALKED)})}"
        for _ in range(many // _WALKED + 3):
            response = self._call(call, url, 200)
            if response is None:
                return None
            found += response.json()["data"]
            link = response.links.get("next", {}).get("url")
            if response.json()["has_more"] != (link is not None):
                self._findings.wrong(WRONG, call, [url], f"has_more, and yet the link is {link}")
            if link is None:
                break
            if not link.startswith(self._api_url):
                self._findings.wrong(WRONG, call, [url], f"links elsewhere: {link}")
                break
            url = link.removeprefix(self._api_url)
        return found

    def _list_conversations(self) -> None:
        query = self._position([*self._conversations, *self.deleted_conversations])
        if self._random.random() < _ALL:
            self._list_filtered(query)
            return
        response = self._call("list_conversations", f"/conversations?{urlencode(query)}", 200)
        if response is not None:
            self._check_page("list_conversations", query, self._conversations, response.json())

    def _list_filtered(self, query: dict[str, str]) -> None:
        # An index follows, so what it has just now is no more than what there is or was.
        wanted = {flag: self._random.choice((None, True, False)) for flag in _FLAGS}
        group = self._random.choice(_GROUPS)
        response = self._call("list_conversations", f"/conversations?{urlencode(query | _filter(wanted, group))}", 200)
        if response is not None:
            found = response.json()["data"]
            known = {*self._conversations, *self.deleted_conversations}
            self._check_known("list_conversations", known, [one["id"] for one in found])
            others = [one["id"] for one in found if not _fits(one, wanted, group)]
            self._findings.wrong(WRONG, "list_conversations", others, "does not match the filter")

    def _list_messages(self) -> None:
        if self.deleted_conversations and self._random.random() < _GONE:
            id = self._random.choice(self.deleted_conversations)
            self._call("list_messages", f"/messages?conversation_id={id}", 404)
        elif self._random.random() < _ALL:
            response = self._call("list_messages", f"/messages?{urlencode(self._position(list(self._messages)))}", 200)
            if response is not None:
                found = [one for one in response.json()["data"] if one["message"] not in self._awaited]
                known = {*self._messages, *self._deleted_messages}
                self._check_known("list_messages", known, [one["id"] for one in found])
                left = [one["id"] for one in found if one["conversation_id"] in self.deleted_conversations]
                self._findings.wrong(GHOST, "list_messages", left, "of a deleted conversation")
        else:
            id = self._some_conversation()
            query = self._position([*self._of(id), *self._deleted_messages]) | {"conversation_id": id}
            response = self._call("list_messages", f"/messages?{urlencode(query)}", 200)
            if response is not None:
                self._adopt(response.json()["data"])
                self._check_page("list_messages", query, self._of(id), response.json())

    def _create_conversation(self) -> None:
        if not self._repeats("create_conversation"):
            self._make_conversation()

    def _make_conversation(self) -> None:
        body = {"contact_id": self._random.choice(_CONTACTS), "group_id": self._random.choice(_GROUPS)}
        unset = dict.fromkeys(("pinned_message_id", "last_active_at", "last_opened_at", "archived_at"))
        made = self._post("create_conversation", body, unset | {"is_pinned": False, "is_muted": False})
        if made is not None:
            self._conversations[made["id"]] = Kept(made)

    def _create_message(self) -> None:
        if self.deleted_conversations and self._random.random() < _GONE:
            nowhere = {"conversation_id": self._random.choice(self.deleted_conversations), "message": "Anybody home?"}
            self._call("create_message", "/messages", 404, body=nowhere, headers={"Idempotency-Key": self._key()})
            return
        if self._repeats("create_message"):
            return
        id, attachments = self._some_conversation(), ["shovel.jpg"] * self._random.randrange(3)
        body: dict[str, Any] = {
            "conversation_id": id,
            "message": f"Who ordered pizza {self._key()}?",
            "attachments": attachments,
        }
        made = self._post("create_message", body, {"contact": None, "reactions": [], "read_at": None})
        if made is not None:
            self._messages[made["id"]] = Kept(made)
            self._change_conversation(id, last_active_at=made["created_at"])

    def _post(self, call: str, body: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any] | None:
        key = self._key()
        response = self._call(call, f"/{_noun(call)}", 201, body=body, headers={"Idempotency-Key": key})
        if response is None:
            return None
        made: dict[str, Any] = response.json()
        id, expected = made["id"], body | rest | {"id": made["id"], "created_at": made["created_at"]}
        if call == "create_message":
            expected["updated_at"] = None
        is_new = id not in self._conversations and id not in self._messages
        told = (
            response.headers.get("ETag"),
            response.headers.get("Location"),
            response.headers.get("Idempotent-Replayed"),
        )
        if made != expected or not _is_now(made["created_at"]) or not is_new:
            self._findings.wrong(WRONG, call, [id], f"{expected} was created, the answer is {made}")
        if told != ('"1"', f"{self._api_url}/{_noun(call)}/{id}", None):
            self._findings.wrong(WRONG, call, [id], f"was created, the headers are {told}")
        self._posts = [*self._posts[1 - _MOST_POSTS :], _Post(call, body, key, made)]
        return made

    def _repeats(self, call: str) -> bool:
        """Whether this time something is posted again, whatever became of what it made."""
        posts = [post for post in self._posts if post.call == call]
        if not posts or self._random.random() > _REPEATED:
            return False
        post, path = self._random.choice(posts), f"/{_noun(call)}"
        headers = {"Idempotency-Key": post.key}
        if self._random.random() < _STALE:
            self._call(call, path, 422, body=post.body | {_own_words(call): "another"}, headers=headers)
            return True
        response = self._call(call, path, 201, body=post.body, headers=headers)
        if response is not None:
            self._findings.count("replays")
            if response.json() != post.resource or response.headers.get("Idempotent-Replayed") != "true":
                message = f"{post.resource} was the first answer, the next is {response.json()} with {response.headers}"
                self._findings.wrong(WRONG, call, [post.resource["id"]], message)
        return True

    def _retrieve_conversation(self) -> None:
        self._retrieve("retrieve_conversation", self._some_conversation(), self._conversations)

    def _retrieve_message(self) -> None:
        self._retrieve("retrieve_message", self._random.choice(list(self._messages)), self._messages)

    def _retrieve(self, call: str, id: str, known: Mapping[str, Kept]) -> None:
        deleted = self.deleted_conversations if known is self._conversations else self._deleted_messages
        if deleted and self._random.random() < _GONE:
            self._call(call, f"/{_noun(call)}/{self._random.choice(deleted)}", 404)
            return
        kept = known[id]
        if self._has_condition(id):
            self._call(call, f"/{_noun(call)}/{id}", 304, headers={"If-None-Match": _etag(kept.version)})
            return
        response = self._call(call, f"/{_noun(call)}/{id}", 200)
        if response is not None:
            self._check(call, kept, response)

    def _update_conversation(self) -> None:
        id = self._some_conversation()
        changes: list[dict[str, Any]] = [
            {"is_pinned": self._random.random() < 0.5},
            {"is_muted": self._random.random() < 0.5, "last_opened_at": int(time.time())},
            {"archived_at": self._random.choice((None, int(time.time())))},
            {"pinned_message_id": self._random.choice([None, *self._of(id)])},
        ]
        self._update("update_conversation", self._conversations[id], self._random.choice(changes))

    def _update_message(self) -> None:
        kept = self._messages[self._random.choice(list(self._messages))]
        reactions = [{"reaction": "heart", "contact_id": self._random.choice((None, *_CONTACTS))}]
        changes: list[dict[str, Any]] = [
            {"read_at": int(time.time())},
            {"reactions": reactions * self._random.randrange(3)},
            {"message": f"I made pizza {self._key()} disappear.", "attachments": ["tarantula.jpg"]},
        ]
        self._update("update_message", kept, self._random.choice(changes))

    def _update(self, call: str, kept: Kept, changes: dict[str, Any]) -> None:
        id = kept.resource["id"]
        condition, status = self._condition(kept, 200)
        response = self._call(call, f"/{_noun(call)}/{id}", status, body=changes, headers=condition)
        if response is not None and status == 200:
            if call == "update_message":
                changes["updated_at"] = response.json()["updated_at"]
                if not _is_now(changes["updated_at"]):
                    self._findings.wrong(WRONG, call, [id], f"is updated, at {changes['updated_at']}")
            kept.resource, kept.version = kept.resource | changes, kept.version + 1
            self._check(call, kept, response)

    def _delete_conversation(self) -> None:
        others = [id for id in self._conversations if id not in self.inboxes]
        if not others:
            self._make_conversation()
            return
        id = self._random.choice(others)
        condition, status = self._condition(self._conversations[id], 204)
        response = self._call("delete_conversation", f"/conversations/{id}", status, headers=condition)
        if response is not None and status == 204:
            del self._conversations[id]
            self.deleted_conversations.append(id)
            for message in self._of(id):
                self._forget(message)

    def _delete_message(self) -> None:
        id = self._random.choice(list(self._messages))
        condition, status = self._condition(self._messages[id], 204)
        response = self._call("delete_message", f"/messages/{id}", status, headers=condition)
        if response is not None and status == 204:
            conversation_id = self._messages[id].resource["conversation_id"]
            self._forget(id)
            if self._conversations[conversation_id].resource["pinned_message_id"] == id:
                self._change_conversation(conversation_id, pinned_message_id=None)

    def _forget(self, message_id: str) -> None:
        del self._messages[message_id]
        self._deleted_messages.append(message_id)

    def _change_conversation(self, id: str, **changes: object) -> None:
        """What becomes of it by the way."""
        kept = self._conversations[id]
        kept.resource, kept.version = kept.resource | changes, kept.version + 1

    def _adopt(self, found: Iterable[dict[str, Any]] | None) -> None:
        """Takes what others said for acknowledged, once it is met with as it was said."""
        for one in found or ():
            said = self._awaited.get(one["message"])
            if said is None or one["id"] in self._messages or one["contact"] is None:
                continue
            rest: dict[str, Any] = {"reactions": [], "attachments": [], "read_at": None, "updated_at": None}
            if one == {name: one[name] for name in ("id", "message", "created_at")} | said | rest:
                del self._awaited[one["message"]]
                self._messages[one["id"]] = Kept(one)
                latest = self._conversations[one["conversation_id"]].resource["last_active_at"] or 0
                self._change_conversation(one["conversation_id"], last_active_at=max(latest, one["created_at"]))
                self._findings.count("events met")

    def _condition(self, kept: Kept, status: int) -> tuple[dict[str, str], int]:
        """Headers of a change, and the *status* of its answer, or else that it is refused."""
        if not self._has_condition(kept.resource["id"]):
            return {}, status
        if self._random.random() < _STALE:
            return {"If-Match": _etag(kept.version + self._random.choice((-1, 1)))}, 412
        return {"If-Match": _etag(kept.version)}, status

    def _has_condition(self, id: str) -> bool:
        return id not in self.inboxes and self._random.random() < _CONDITIONAL

    def _some_conversation(self) -> str:
        of_others = self._random.random() < _INBOX
        return self._random.choice(self.inboxes if of_others else list(self._conversations))

    def _of(self, conversation_id: str) -> dict[str, Kept]:
        return {id: kept for id, kept in self._messages.items() if kept.resource["conversation_id"] == conversation_id}

    def _position(self, ids: Sequence[str]) -> dict[str, str]:
        query = {"limit": str(self._random.randint(1, _MOST_OF_A_PAGE))}
        direction = self._random.choice((None, "starting_after", "ending_before"))
        return query | ({direction: self._random.choice(ids)} if direction and ids else {})

    def _check_page(self, call: str, query: Mapping[str, str], kept: Mapping[str, Kept], page: dict[str, Any]) -> None:
        """A page of what is read as it now is."""
        ids, limit = sorted(kept, reverse=True), int(query["limit"])
        if "ending_before" in query:
            ids = [id for id in ids if id > query["ending_before"]]
            expected = ids[-limit:]
        else:
            ids = [id for id in ids if "starting_after" not in query or id < query["starting_after"]]
            expected = ids[:limit]
        self._compare(call, {id: kept[id] for id in expected}, page["data"])
        may_have_more = self._is_awaiting(query.get("conversation_id"))
        if page["has_more"] != (len(ids) > limit) and not (page["has_more"] and may_have_more):
            self._findings.wrong(WRONG, call, [str(query)], f"has_more is {page['has_more']}, with {len(ids)} in all")

    def _compare(self, call: str, expected: Mapping[str, Kept], found: Sequence[dict[str, Any]]) -> None:
        ids = [one["id"] for one in found]
        self._findings.wrong(LOST, call, expected.keys() - set(ids), "was acknowledged and is not listed")
        self._check_known(call, expected.keys(), ids)
        for one in found:
            if one["id"] in expected and self._differs(expected[one["id"]], one):
                self._findings.wrong(LOST, call, [one["id"]], f"is {expected[one['id']].resource}, listed is {one}")

    def _check_known(self, call: str, known: Collection[str], ids: Sequence[str]) -> None:
        self._findings.wrong(GHOST, call, set(ids) - set(known), "is listed, and there is no such thing")
        self._findings.wrong(GHOST, call, {id for id in ids if ids.count(id) > 1}, "is listed twice")
        if list(ids) != sorted(ids, reverse=True):
            self._findings.wrong(WRONG, call, [" ".join(ids)], "are not in order")

    def _check(self, call: str, kept: Kept, response: requests.Response) -> None:
        """A resource and its version, as they now are."""
        id, told, resource = kept.resource["id"], response.headers.get("ETag"), response.json()
        if self._differs(kept, resource):
            self._findings.wrong(LOST, call, [id], f"is {kept.resource}, the answer is {resource}")
        newest = kept.version + (len(self._awaited) if self._is_awaiting(id) else 0)
        if told not in {_etag(version) for version in range(kept.version, newest + 1)}:
            self._findings.wrong(LOST, call, [id], f"is of version {kept.version}, the answer of {told}")

    def _differs(self, kept: Kept, found: dict[str, Any]) -> bool:
        if found == kept.resource:
            return False
        # What is on its way may have made the conversation active already.
        active_at = found.get("last_active_at") or 0
        is_ahead = active_at > (kept.resource.get("last_active_at") or 0)
        is_same_otherwise = found == kept.resource | {"last_active_at": active_at}
        return not (is_ahead and is_same_otherwise and self._is_awaiting(kept.resource["id"]))

    def _is_awaiting(self, conversation_id: str | None) -> bool:
        """Whether others may have said more there than was met with."""
        return bool(self._awaited) and conversation_id in self.inboxes

    def _key(self) -> str:
        return str(next(self._keys))

    def _call(
        self, call: str, path: str, status: int, body: object = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response | None:
        """The answer to *call*; None where it has another *status*, which is a fault."""
        if time.time() > self._renew_at:
            self._renew()
        method, started = _METHODS[call.partition("_")[0]], time.perf_counter()
        try:
            response = self._session.request(
                method, f"{self._api_url}{path}", json=body, headers=headers, timeout=_TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            self._findings.answered(call, None, 1000 * (time.perf_counter() - started))
            self._findings.unexpected(call, None, f"{method} {path}: {error!r}")
            return None
        self._findings.answered(call, response.status_code, 1000 * (time.perf_counter() - started))
        if response.status_code == status:
            return response
        message = f"{method} {path} {body or ''}: {status} was to be, and it is {response.text}"
        self._findings.unexpected(call, response.status_code, message)
        return None

    def _renew(self) -> None:
        token = self._sign_in()
        claims = users.claims(token)
        self.id = str(claims["sub"])
        self._renew_at = time.time() + (claims["exp"] - time.time()) / 2
        self._session.headers["Authorization"] = f"Bearer {token}"


def _fits(conversation: Mapping[str, Any], wanted: Mapping[str, bool | None], group: str | None) -> bool:
    is_archived = conversation["archived_at"] is not None
    flags = {"muted": conversation["is_muted"], "archived": is_archived, "pinned": conversation["is_pinned"]}
    is_in_group = group is None or conversation["group_id"] == group
    return is_in_group and all(value is None or flags[flag] == value for flag, value in wanted.items())


def _filter(wanted: Mapping[str, bool | None], group: str | None) -> dict[str, str]:
    flags = {flag: str(value).lower() for flag, value in wanted.items() if value is not None}
    return flags | ({} if group is None else {"group_id": group})


def _noun(call: str) -> str:
    """That of the path."""
    return "messages" if "message" in call else "conversations"


def _own_words(call: str) -> str:
    return "message" if call == "create_message" else "contact_id"


def _etag(version: int) -> str:
    return f'"{version}"'


def _is_now(seconds: int) -> bool:
    return abs(time.time() - seconds) < _NOW_SECONDS
