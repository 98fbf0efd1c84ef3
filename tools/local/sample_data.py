"""Realistic conversations for a demo user of the running stack (`make sample-data`)."""

from contextlib import suppress
from itertools import product

from coherent.conversations.models import CreateConversation, UpdateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.errors import CoherentError, NotFound
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
        id = creation.version.resource["id"]
        # A user may have deleted it since an earlier run.
        with suppress(NotFound):
            _set_flags(conversation_repository, user_id, id, number)
            ids[number] = id
    # Each message goes to all conversations before the next one, so that they are active at the same time.
    for message, number in track(list(product(range(messages), ids)), f"Messages of {user}"):
        attributes = {"conversation_id": ids[number], "message": _TEXTS[(number + message) % len(_TEXTS)]}
        key = f"sample-data {number} {message}"
        if (number + message) % 2:
            message_repository.create(user_id, CreateMessage.parse(attributes, text=False), key)
        else:
            event = attributes | {"user_id": user_id, "contact_id": _CONTACTS[number % len(_CONTACTS)]}
            message_repository.receive(ReceiveMessage.parse(event, text=False), key)


def _conversation(number: int) -> CreateConversation:
    contact, group = _CONTACTS[number % len(_CONTACTS)], _GROUPS[number // len(_CONTACTS) % len(_GROUPS)]
    suffix = number // (len(_CONTACTS) * len(_GROUPS))
    return CreateConversation.parse({"contact_id": f"{contact}{suffix or ''}", "group_id": group}, text=False)


def _set_flags(repository: ConversationRepository, user_id: str, id: str, number: int) -> None:
    """Pins, mutes or archives some conversations, unless they were changed before."""
    conversation, version = repository.retrieve(user_id, id)
    changes = {
        "is_pinned": number % 7 == 0,
        "is_muted": number % 3 == 1,
        "archived_at": conversation["created_at"] if number % 5 == 2 else None,
    }
    if version == 1 and any(changes.values()):
        repository.update(user_id, id, UpdateConversation.parse(changes, text=False), ANY)
