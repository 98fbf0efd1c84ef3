"""The command behind `make sample-data`: believable data for a demo user of the running stack."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from coherent import errors
from coherent.conversations.models import CreateConversation, UpdateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.messages.models import CreateMessage
from coherent.messages.repository import MessageRepository
from coherent.storage.dynamodb import Tables
from rich.progress import track

from tools.local import environment, stack, users
from tools.local.environment import aws_session, emulator_url
from tools.local.failure import Failure

_CONTACTS = ("harry", "marv", "kate", "peter", "buzz", "fuller", "gus", "megan", "linnie", "jeff", "frank", "leslie")
_GROUPS = (None, "family", "friends", "neighbours")
_TALK = (
    "Did you lock the front door?",
    "I think so. Why?",
    "I have a feeling that we forgot something.",
    "We say that before each journey.",
    "The plane leaves at eight, so be up at five.",
    "Who ordered ten pizzas?",
    "Not me, but one of them is plain cheese, and it is mine.",
    "There is a storm; all the lines are down.",
    "Call me when you are there.",
    "We are there. It rains.",
    "Is the tarantula in its cage?",
    "It was yesterday.",
    "Somebody is walking around the house next door.",
    "That is the man with the shovel. He only salts the pavement.",
    "Thank you for the tree!",
    "See you on Boxing Day.",
)


class Step(NamedTuple):
    """One thing to write: a conversation (*message* None) or one of its messages."""

    conversation: int
    message: int | None


def main() -> int:
    """Runs the command; the exit status is 1 after a `Failure`, whose sentence goes to standard error."""
    parser = argparse.ArgumentParser(prog="python -m tools.local.sample_data", description=__doc__)
    parser.add_argument("--home", type=Path, default=environment.ROOT / ".local", help="where stack.json is")
    parser.add_argument("user", choices=users.DEMO_USERS)
    parser.add_argument("conversations", type=int, help="how many")
    parser.add_argument("messages", type=int, help="how many in each of them")
    options = parser.parse_args()
    # Whatever AWS this shell is set up for, this speaks to the emulator only.
    os.environ.clear()
    os.environ.update(environment.of_emulator())
    try:
        fill(stack.running_port(options.home), options.user, options.conversations, options.messages)
    except (Failure, errors.CoherentError) as failure:
        print(f"{failure} What is written stays; the same command goes on.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. What is written stays; the same command goes on.", file=sys.stderr)
        return 1
    return 0


def fill(port: int, user: str, conversations: int, messages: int) -> None:
    """Gives *user* so many *conversations* with so many *messages* each, with a progress bar.

    Every write has an idempotency key, so what was interrupted is completed by the same command within 24 hours, and
    nothing is written twice. Not through the API, because a client can only speak for its user, and half of what is
    written here was said by others. Raises `failure.Failure` and `errors.CoherentError`.
    """
    user_id = str(users.claims(users.token(port, user))["sub"])
    client = aws_session().client("dynamodb", endpoint_url=emulator_url(port))
    outputs = stack.outputs(port)
    tables = Tables(client, outputs["ConversationsTableName"], outputs["MessagesTableName"])
    kept_conversations = ConversationRepository(tables)
    kept_messages = MessageRepository(tables)
    ids: dict[int, str] = {}
    steps = _steps(conversations, messages)
    for step in track(steps, f"Writing for {user}", total=conversations * (messages + 1)):
        key = f"sample-data {step.conversation}"
        if step.message is None:
            creation = kept_conversations.create(user_id, _conversation(step.conversation), key)
            id = creation.version.resource["id"]
            # Somebody may have deleted it since.
            with suppress(errors.NotFound):
                _change(kept_conversations, user_id, id, step.conversation)
                ids[step.conversation] = id
        elif step.conversation in ids:
            said = _TALK[(step.conversation + step.message) % len(_TALK)]
            new = CreateMessage.parse({"conversation_id": ids[step.conversation], "message": said}, text=False)
            is_users = (step.conversation + step.message) % 2
            contact = None if is_users else _CONTACTS[step.conversation % len(_CONTACTS)]
            kept_messages.create(user_id, new, contact, f"{key} {step.message}")


def _steps(conversations: int, messages: int) -> Iterator[Step]:
    """Message by message in all conversations, as if they were all going on at the same time."""
    for conversation in range(conversations):
        yield Step(conversation, None)
    for message in range(messages):
        for conversation in range(conversations):
            yield Step(conversation, message)


def _conversation(number: int) -> CreateConversation:
    contact, group = _CONTACTS[number % len(_CONTACTS)], _GROUPS[number // len(_CONTACTS) % len(_GROUPS)]
    again = number // (len(_CONTACTS) * len(_GROUPS))
    return CreateConversation.parse({"contact_id": f"{contact}{again or ''}", "group_id": group}, text=False)


def _change(kept: ConversationRepository, user_id: str, id: str, number: int) -> None:
    """Pins, mutes or archives a few, unless they were touched before."""
    conversation, version = kept.retrieve(user_id, id)
    changes: dict[str, object] = {}
    if number % 7 == 0:
        changes["is_pinned"] = True
    if number % 3 == 1:
        changes["is_muted"] = True
    if number % 5 == 2:
        changes["archived_at"] = conversation["created_at"]
    if changes and version == 1:
        kept.update(user_id, id, UpdateConversation.parse(changes, text=False), None)


if __name__ == "__main__":
    sys.exit(main())
