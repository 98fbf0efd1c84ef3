"""Drives the generated Python client through the lifecycle of conversations and messages: `lifecycle.py URL TOKEN`."""

import sys
from typing import TypeVar

from conversations_client import AuthenticatedClient
from conversations_client.api.conversations import (
    create_conversation,
    delete_conversation,
    list_conversations,
    retrieve_conversation,
    update_conversation,
)
from conversations_client.api.messages import (
    create_message,
    delete_message,
    list_messages,
    retrieve_message,
    update_message,
)
from conversations_client.models import (
    ApiErrorResponse,
    ApiErrorResponseType,
    Conversation,
    Conversations,
    CreateConversation,
    CreateConversationForm,
    CreateMessage,
    CreateMessageForm,
    Message,
    Messages,
    Reaction,
    UpdateConversation,
    UpdateConversationForm,
    UpdateMessage,
)
from conversations_client.types import Response

# The first second of 2100, which 32 bits do not hold.
YEAR_2100 = 4_102_444_800

Parsed = TypeVar("Parsed")


def parsed(response: Response[ApiErrorResponse | Parsed], status: int, kind: type[Parsed]) -> Parsed:
    """Returns the body of a response with *status*."""
    assert response.status_code == status, response
    assert isinstance(response.parsed, kind)
    return response.parsed


def rejected(response: Response[ApiErrorResponse | Parsed], status: int) -> str:
    """Returns the message of an error response with *status*."""
    assert response.status_code == status, response
    assert isinstance(response.parsed, ApiErrorResponse)
    assert response.parsed.type_ is ApiErrorResponseType.INVALID_REQUEST
    return response.parsed.message


def drive(client: AuthenticatedClient) -> None:
    """Makes every call, with a new user of *client*."""
    id = create(client)
    filters_and_pages(client, id)
    changes(client, id)
    messages(client, id)
    etag = retrieve_conversation.sync_detailed(id, client=client).headers["ETag"]
    assert delete_conversation.sync_detailed(id, client=client, if_match=etag).status_code == 204
    assert rejected(retrieve_conversation.sync_detailed(id, client=client), 404) == "id: no such conversation"


def create(client: AuthenticatedClient) -> str:
    """Creates a conversation with both ids; repeats the request; returns the id."""
    both = CreateConversation(contact_id="harry", group_id="friends")
    response = create_conversation.sync_detailed(client=client, body=both, idempotency_key="python")
    conversation = parsed(response, 201, Conversation)
    assert (conversation.contact_id, conversation.group_id) == ("harry", "friends")
    assert (conversation.archived_at, conversation.is_muted) == (None, False)
    assert response.headers["Location"].endswith(f"/conversations/{conversation.id}")
    response = create_conversation.sync_detailed(client=client, body=both, idempotency_key="python")
    assert parsed(response, 201, Conversation) == conversation
    assert response.headers["Idempotent-Replayed"] == "true"
    contact = CreateConversation(contact_id="harry", group_id=None)
    response = create_conversation.sync_detailed(client=client, body=contact, idempotency_key="python")
    assert rejected(response, 422).startswith("Idempotency-Key: ")
    response = create_conversation.sync_detailed(client=client, body=CreateConversation())
    assert rejected(response, 400) == "contact_id, group_id: at least one of them must be given"
    return conversation.id


def filters_and_pages(client: AuthenticatedClient, id: str) -> None:
    """Adds a conversation with a contact and, by a form, one with a group; lists them."""
    created = create_conversation.sync_detailed(client=client, body=CreateConversation(contact_id="harry"))
    contact = parsed(created, 201, Conversation)
    created = create_conversation.sync_detailed(client=client, body=CreateConversationForm(group_id="family"))
    group = parsed(created, 201, Conversation)
    assert (contact.group_id, group.contact_id, group.group_id) == (None, None, "family")
    page = parsed(list_conversations.sync_detailed(client=client, limit=1), 200, Conversations)
    walked = [conversation.id for conversation in page.data]
    while page.has_more:
        listed = list_conversations.sync_detailed(client=client, limit=1, starting_after=walked[-1])
        page = parsed(listed, 200, Conversations)
        walked += [conversation.id for conversation in page.data]
    assert walked == [group.id, contact.id, id]
    listed = list_conversations.sync_detailed(client=client, ending_before=id, limit=1)
    page = parsed(listed, 200, Conversations)
    assert (page.has_more, page.data) == (True, [contact])
    listed = list_conversations.sync_detailed(client=client, group_id="friends", muted=False, archived=False)
    assert [conversation.id for conversation in parsed(listed, 200, Conversations).data] == [id]
    listed = list_conversations.sync_detailed(client=client, pinned=True)
    assert parsed(listed, 200, Conversations).data == []
    assert rejected(list_conversations.sync_detailed(client=client, limit=101), 400).startswith("limit: ")
    for conversation in (contact, group):
        assert delete_conversation.sync_detailed(conversation.id, client=client).status_code == 204


def changes(client: AuthenticatedClient, id: str) -> None:
    """Tells null from absent; makes conditional requests."""
    archive = UpdateConversation(archived_at=YEAR_2100, is_pinned=True)
    archived = update_conversation.sync_detailed(id, client=client, body=archive)
    assert parsed(archived, 200, Conversation).archived_at == YEAR_2100
    muted = update_conversation.sync_detailed(id, client=client, body=UpdateConversationForm(is_muted=True))
    assert parsed(muted, 200, Conversation).archived_at == YEAR_2100
    restore = UpdateConversation(archived_at=None)
    restored = parsed(update_conversation.sync_detailed(id, client=client, body=restore), 200, Conversation)
    assert (restored.archived_at, restored.is_pinned, restored.is_muted) == (None, True, True)
    UpdateConversation(archived_at="")  # type: ignore[arg-type]
    UpdateConversation(is_pinned="true")  # type: ignore[arg-type]

    retrieved = retrieve_conversation.sync_detailed(id, client=client)
    assert parsed(retrieved, 200, Conversation) == restored
    etag, stale = retrieved.headers["ETag"], archived.headers["ETag"]
    unchanged = retrieve_conversation.sync_detailed(id, client=client, if_none_match=etag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    unmute = UpdateConversation(is_muted=False)
    assert rejected(update_conversation.sync_detailed(id, client=client, body=unmute, if_match=stale), 412)
    assert rejected(delete_conversation.sync_detailed(id, client=client, if_match=stale), 412)
    assert update_conversation.sync_detailed(id, client=client, body=unmute, if_match=etag).status_code == 200


def messages(client: AuthenticatedClient, id: str) -> None:
    """Sends, edits, pins and deletes messages."""
    text = CreateMessage(conversation_id=id, message="Merry Christmas, Harry")
    response = create_message.sync_detailed(client=client, body=text, idempotency_key="python message")
    sent = parsed(response, 201, Message)
    assert (sent.contact, sent.read_at, sent.reactions, sent.attachments) == (None, None, [], [])
    pictures = CreateMessage(conversation_id=id, attachments=["https://files.example.com/tarantula.jpg"])
    picture = parsed(create_message.sync_detailed(client=client, body=pictures), 201, Message)
    assert picture.message == ""
    form = CreateMessageForm(conversation_id=id, message="Tännchen & Kugeln")
    last = parsed(create_message.sync_detailed(client=client, body=form), 201, Message)
    page = parsed(list_messages.sync_detailed(client=client, conversation_id=id, limit=2), 200, Messages)
    assert (page.has_more, page.data) == (True, [last, picture])
    page = parsed(list_messages.sync_detailed(client=client, ending_before=picture.id), 200, Messages)
    assert (page.has_more, page.data) == (False, [last])

    react = UpdateMessage(reactions=[Reaction("heart", None), Reaction("heart", "harry")], read_at=YEAR_2100)
    read = parsed(update_message.sync_detailed(sent.id, client=client, body=react), 200, Message)
    assert (read.read_at, read.updated_at, len(read.reactions)) == (YEAR_2100, None, 2)
    edit = UpdateMessage(message="Happy New Year, Harry", read_at=None)
    edited = parsed(update_message.sync_detailed(sent.id, client=client, body=edit), 200, Message)
    assert (edited.read_at, edited.message) == (None, "Happy New Year, Harry")
    assert (edited.reactions, type(edited.updated_at)) == (read.reactions, int)
    assert parsed(retrieve_message.sync_detailed(sent.id, client=client), 200, Message) == edited

    pin = UpdateConversation(pinned_message_id=sent.id)
    assert update_conversation.sync_detailed(id, client=client, body=pin).status_code == 200
    assert delete_message.sync_detailed(sent.id, client=client).status_code == 204
    assert rejected(retrieve_message.sync_detailed(sent.id, client=client), 404) == "id: no such message"
    conversation = parsed(retrieve_conversation.sync_detailed(id, client=client), 200, Conversation)
    assert conversation.pinned_message_id is None
    assert conversation.last_active_at is not None


if __name__ == "__main__":
    drive(AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], raise_on_unexpected_status=True))
