"""Delivery between users: every sequence of requests, deliveries and sweeps leaves the model's mailboxes."""

import random
from collections.abc import Iterable
from typing import Any

import pytest
from coherent import ids
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests import tables
from tests.handlers import Context, handler, order_records
from tests.model import Copy, Users
from tests.properties.clock import Clock
from tests.properties.interleaving import Interleaving
from tests.properties.service import URL, Service
from tests.properties.test_inbox import FLAGS, GROUPS
from tests.properties.test_messages import CHANGES, TEXTS
from tests.wire import Wire

NAMES = ("kevin", "harry", "marv")
USERS = st.sampled_from(NAMES)
CONTACTS = st.sampled_from([*NAMES, "stranger"])


class Delivery(Service):
    """Three users who write to each other, to themselves and to a stranger, while orders are delivered."""

    wire: Wire
    clock: Clock
    models: Users

    def __init__(self) -> None:
        """Starts without an order."""
        self.clock.reset()
        super().__init__()
        self.models = Users(*NAMES, url=URL)
        # Every order that ever was: streams deliver late and repeatedly.
        self.orders: dict[str, dict[str, Any]] = {}

    @initialize()
    def begin(self) -> None:
        """Makes all of them users, some of whom write to each other."""
        for user, contact_id in (("kevin", "harry"), ("harry", "kevin"), ("marv", "stranger"), ("marv", "kevin")):
            self.request(user, "create_conversation", body={"contact_id": contact_id})
            id = max(self.models[user].conversations)
            self.request(user, "create_message", body={"conversation_id": id, "message": "hello"})

    @rule(user=USERS, contact_id=CONTACTS, group_id=GROUPS)
    def create(self, user: str, contact_id: str, group_id: str | None) -> None:
        """Creates a conversation."""
        body = {"contact_id": contact_id} | ({"group_id": group_id} if group_id else {})
        self.request(user, "create_conversation", body=body)

    @rule(user=USERS, data=st.data(), texts=st.lists(TEXTS, min_size=1, max_size=3))
    def send(self, user: str, data: st.DataObject, texts: list[str]) -> None:
        """Sends messages in a conversation."""
        id = self.draw_id(self.models[user].conversations, data)
        for text in texts:
            self.request(user, "create_message", body={"conversation_id": id, "message": text})

    @rule(user=USERS, data=st.data(), changes=CHANGES)
    def change(self, user: str, data: st.DataObject, changes: dict[str, Any]) -> None:
        """Edits a message, reacts to it or marks it as read."""
        self.request(user, "update_message", id=self.draw_id(self.models[user].messages, data), body=changes)

    @rule(user=USERS, data=st.data(), is_for_everyone=st.booleans())
    def delete(self, user: str, data: st.DataObject, is_for_everyone: bool) -> None:
        """Deletes a message, for this user or for everyone."""
        query = {"for": "everyone"} if is_for_everyone else {}
        self.request(user, "delete_message", id=self.draw_id(self.models[user].messages, data), query=query)

    @rule(user=USERS, data=st.data())
    def delete_conversation(self, user: str, data: st.DataObject) -> None:
        """Deletes a conversation with its messages."""
        self.request(user, "delete_conversation", id=self.draw_id(self.models[user].conversations, data))

    @rule(user=USERS, data=st.data(), flags=FLAGS, is_unread=st.booleans())
    def change_conversation(self, user: str, data: st.DataObject, flags: dict[str, Any], is_unread: bool) -> None:
        """Pins, mutes, archives or marks a conversation, or the opposite."""
        id = self.draw_id(self.models[user].conversations, data)
        self.request(user, "update_conversation", id=id, body=flags)
        self.request(user, "update_inbox_entry", id=id, body={"is_unread": is_unread})

    @rule(user=USERS, data=st.data(), is_blocked=st.booleans(), text=TEXTS)
    def block(self, user: str, data: st.DataObject, is_blocked: bool, text: str) -> None:
        """Blocks the contact of a conversation, or unblocks them. They answer, and delete their first message."""
        id = self.draw_id(self.models[user].conversations, data)
        self.request(user, "update_inbox_entry", id=id, body={"is_blocked": is_blocked})
        contact_id: str = self.models[user].conversations.get(id, {}).get("contact_id", "")
        for other in self.models[contact_id].conversations.values() if contact_id in self.models else ():
            if other["contact_id"] == user:
                self.request(contact_id, "create_message", body={"conversation_id": other["id"], "message": text})
                first = min(message["id"] for message in self.models[contact_id].messages_of(other["id"]))
                self.request(contact_id, "delete_message", id=first, query={"for": "everyone"})

    @rule()
    def pass_time(self) -> None:
        """Lets a second pass. Within a delivery, none does: the model knows one time of it."""
        self.clock.set_forward(1)

    @rule(data=st.data(), batches=st.integers(1, 3))
    def deliver(self, data: st.DataObject, batches: int) -> None:
        """Delivers stream records of some orders, in any sequence, each once or more often."""
        for _ in range(batches if self.orders else 0):
            # The first ones have mostly been applied.
            found = data.draw(st.lists(st.sampled_from([*self.orders.values()][::-1]), min_size=1, max_size=5))
            self.apply("deliver_messages", order_records(found), {_pair(order) for order in found})
        self.check_mailboxes()

    @rule()
    def sweep(self) -> None:
        """Applies all orders, and purges what users have deleted. Only rows that the mailboxes need are left."""
        self.apply("sweep_deliveries", {}, list(self.models.orders))
        self.check_mailboxes()
        tables.age_tombstones()
        handler("sweep_purges")({}, Context())
        found = tables.messages()
        kept = [row for row in found if "user_id" in row]
        versions = {id: model.versions[id] for model in self.models.values() for id in model.messages}
        assert {row["id"]["S"]: int(row["version"]["N"]) for row in kept} == versions
        # Where each copy is.
        origins = {row["copy_id"]["S"] for row in found if "copy_id" in row}
        assert origins == {row["id"]["S"] for row in kept if "origin_id" in row}
        assert len(found) == len(kept) + len(origins)

    @invariant()
    def orders_are_those_of_the_model(self) -> None:
        """Requests have put their orders."""
        waiting = tables.orders()
        self.orders |= {order["id"]["S"]: order for order in waiting}
        assert {_pair(order) for order in waiting} == self.models.orders.keys()

    def apply(self, function: str, event: dict[str, Any], pairs: Iterable[tuple[str, str]]) -> None:
        """Invokes *function*, which applies the orders of *pairs*."""
        # moto is not thread-safe, and a sweep has threads.
        network = Interleaving(random.Random(0))  # noqa: S311 - repeatable
        self.wire.fault = network
        handler(function)(event, Context())
        self.wire.reset()
        copies = {
            row["origin_id"]["S"]: Copy(row["conversation_id"]["S"], id, int(ids.created_at(id)))
            for row in network.put("origin_id")
            for id in [row["id"]["S"]]
        }
        for sender, recipient in pairs:
            self.models.deliver(sender, recipient, copies)

    def check_mailboxes(self) -> None:
        """Fails if a mailbox is not that of the model."""
        for user, model in self.models.items():
            self.page(user, "list_messages", 100, {})
            for id in model.conversations:
                self.request(user, "retrieve_inbox_entry", id=id)


def _pair(order: dict[str, Any]) -> tuple[str, str]:
    return order["sender"]["S"], order["recipient"]["S"]


@pytest.mark.usefixtures("no_backoff", "delivery")
def test_mailboxes_equal_the_model(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    Delivery.wire, Delivery.clock = wire, Clock(monkeypatch)
    run_state_machine_as_test(Delivery, settings=settings(max_examples=6, stateful_step_count=40, deadline=None))
