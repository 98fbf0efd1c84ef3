"""Realistic conversations for a demo user of the running stack (`make sample-data`)."""

import time
from contextlib import suppress

from coherent.conversations.models import CreateConversation, UpdateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.errors import CoherentError, NotFound
from coherent.inbox.models import UpdateInboxEntry
from coherent.inbox.repository import InboxRepository
from coherent.messages.models import CreateMessage, ReceiveMessage
from coherent.messages.repository import MessageRepository
from coherent.preconditions import ANY
from coherent.storage.dynamodb import Tables
from rich.progress import track

from tools.local import stack, users
from tools.local.environment import Failure, aws_client

_CONTACTS = ("harry", "marv", "kate", "peter", "buzz", "fuller", "gus", "megan", "linnie", "jeff", "frank", "leslie")
_GROUPS = (None, "family", "friends", "neighbours")
_TEXTS = (
    "Did you lock the front door?",
    "I think so. Why?",
    "I have a feeling that we forgot something.",
    "We say that before each journey.",
    "The plane leaves at eight, so be up at five.",
    "Who ordered ten pizzas?",
    "Not me, but one of them is plain cheese, and it is mine.",
    "There is a storm; all the lines are down.",
    "Thank you for the tree!",
    "See you on Boxing Day.",
)


def fill(port: int, user: str, conversations: int, messages: int) -> None:
    """Creates *conversations* with *messages* each, or continues within 24 hours. Raises `Failure`."""
    try:
        _fill(port, user, conversations, messages)
    except (CoherentError, KeyboardInterrupt) as error:
        raise Failure(f"{str(error) or 'Stopped.'} The same command creates what is missing.") from None


def _fill(port: int, user: str, conversations: int, messages: int) -> None:
    # Uses the repositories: the API only accepts a user's own messages, and half of these are from contacts.
    user_id = str(users.claims(users.token(port, user))["sub"])
    outputs = stack.outputs(port)
    tables = Tables(aws_client("dynamodb", port), outputs["ConversationsTableName"], outputs["MessagesTableName"])
    conversation_repository, message_repository = ConversationRepository(tables), MessageRepository(tables)
    ids: dict[int, str] = {}
    for number in track(range(conversations), f"Conversations of {user}"):
        creation = conversation_repository.create(user_id, _conversation(number), f"sample-data {number}")
        ids[number] = creation.version.resource["id"]
    sent: dict[int, list[str]] = {number: [] for number in ids}
    # In another order than that of their creation, so that the inbox has an order of its own.
    for number in track(sorted(ids, key=lambda number: (number * 7 % 11, number)), f"Messages of {user}"):
        for message in range(messages):
            attributes = {"conversation_id": ids[number], "message": _TEXTS[(number + message) % len(_TEXTS)]}
            key = f"sample-data {number} {message}"
            # A user may have deleted the conversation since an earlier run.
            with suppress(NotFound):
                if (number + message) % 2:
                    created = message_repository.create(user_id, CreateMessage.parse(attributes, text=False), key)
                else:
                    event = attributes | {"user_id": user_id, "contact_id": _CONTACTS[number % len(_CONTACTS)]}
                    created = message_repository.receive(ReceiveMessage.parse(event, text=False), key)
                if created.version.resource["conversation_id"] == ids[number]:
                    sent[number].append(created.version.resource["id"])
    inbox = InboxRepository(tables)
    for number, id in ids.items():
        with suppress(NotFound):
            # A user, or an earlier run, may have marked it already.
            if sent[number] and inbox.retrieve(user_id, id).resource["read_up_to"] is None:
                # Last, since messages restore archived conversations.
                conversation_repository.update(user_id, id, _flags(number), ANY)
                inbox.update(user_id, id, _marks(number, sent[number]), ANY)


def _conversation(number: int) -> CreateConversation:
    contact, group = _CONTACTS[number % len(_CONTACTS)], _GROUPS[number // len(_CONTACTS) % len(_GROUPS)]
    suffix = number // (len(_CONTACTS) * len(_GROUPS))
    return CreateConversation.parse({"contact_id": f"{contact}{suffix or ''}", "group_id": group}, text=False)


def _flags(number: int) -> UpdateConversation:
    """Pins, mutes or archives some conversations."""
    flags = {
        "is_pinned": number % 7 == 0,
        "is_muted": number % 6 == 1,
        "archived_at": int(time.time()) if number % 5 == 2 else None,
    }
    return UpdateConversation.parse(flags, text=False)


def _marks(number: int, sent: list[str]) -> UpdateInboxEntry:
    """Marks a third of the conversations as read, the others up to some message; flags some, mutes some for a day."""
    unread = 0 if number % 3 == 0 else min(number * 3 % 20, len(sent) - 1)
    marks: dict[str, object] = {"read_up_to": sent[-1 - unread]}
    if number % 6 == 3:
        marks["is_unread"] = True
    if number % 6 == 4:
        marks["muted_until"] = int(time.time()) + 24 * 60 * 60
    return UpdateInboxEntry.parse(marks, text=False)
