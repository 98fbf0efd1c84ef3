"""Drives the generated Python client through the lifecycle of conversations and messages: `lifecycle.py URL TOKEN`."""

import sys
import time
from typing import TypeVar

from conversations_client import AuthenticatedClient
from conversations_client.api.changes import list_changes
from conversations_client.api.conversations import (
    create_conversation,
    delete_conversation,
    list_conversations,
    retrieve_conversation,
    update_conversation,
)
from conversations_client.api.inbox import count_unread, list_inbox, retrieve_inbox_entry, update_inbox_entry
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
    Change,
    Changes,
    ChangeType,
    Conversation,
    Conversations,
    CreateConversation,
    CreateConversationForm,
    CreateMessage,
    CreateMessageForm,
    DeleteMessageFor,
    Inbox,
    InboxEntry,
    LastMessage,
    Message,
    Messages,
    Reaction,
    UnreadCount,
    UpdateConversation,
    UpdateConversationForm,
    UpdateInboxEntry,
    UpdateInboxEntryForm,
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
    inbox(client, id)
    feed(client, id)
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
    """Sends, edits, pins and deletes messages, one of them for everyone."""
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
    everywhere = delete_message.sync_detailed(picture.id, client=client, for_=DeleteMessageFor.EVERYONE)
    assert everywhere.status_code == 204
    assert rejected(retrieve_message.sync_detailed(sent.id, client=client), 404) == "id: no such message"
    conversation = parsed(retrieve_conversation.sync_detailed(id, client=client), 200, Conversation)
    assert conversation.pinned_message_id is None
    assert conversation.last_active_at is not None


def inbox(client: AuthenticatedClient, id: str) -> None:
    """Pages through the inbox, marks its first entry, mutes it until a time, and blocks its contact."""
    created = create_conversation.sync_detailed(client=client, body=CreateConversation(contact_id="marv"))
    other = parsed(created, 201, Conversation)
    page = parsed(list_inbox.sync_detailed(client=client, limit=1), 200, Inbox)
    walked = page.data
    while page.has_more:
        listed = list_inbox.sync_detailed(client=client, limit=1, starting_after=walked[-1].position)
        page = parsed(listed, 200, Inbox)
        walked += page.data
    assert sorted(entry.conversation.id for entry in walked) == sorted([id, other.id])
    listed = list_inbox.sync_detailed(client=client, group_id="friends", unread=False, archived=False)
    (entry,) = parsed(listed, 200, Inbox).data
    assert (entry.conversation.id, entry.unread_count, entry.is_unread) == (id, 0, False)
    assert (entry.read_up_to, entry.muted_until, entry.is_blocked) == (None, None, False)
    assert isinstance(entry.last_message, LastMessage)
    last = entry.last_message
    assert (last.contact, last.message) == (None, "Tännchen & Kugeln")
    listed = list_inbox.sync_detailed(client=client, starting_after=id)
    assert rejected(listed, 400).startswith("starting_after: must be the position of an inbox entry")

    mark = UpdateInboxEntry(read_up_to=last.id, is_unread=True, muted_until=YEAR_2100, is_blocked=True)
    marked = parsed(update_inbox_entry.sync_detailed(id, client=client, body=mark), 200, InboxEntry)
    assert (marked.read_up_to, marked.is_unread, marked.muted_until) == (last.id, True, YEAR_2100)
    assert marked.conversation.is_muted
    assert marked.is_blocked
    count = parsed(count_unread.sync_detailed(client=client, muted=True), 200, UnreadCount)
    assert (count.conversations, count.messages, count.has_more) == (1, 0, False)
    form = UpdateInboxEntryForm(is_unread=False, is_blocked=False)
    read = parsed(update_inbox_entry.sync_detailed(id, client=client, body=form), 200, InboxEntry)
    assert (read.is_unread, read.muted_until, read.is_blocked) == (False, YEAR_2100, False)
    unmute = UpdateInboxEntry(muted_until=None)
    response = update_inbox_entry.sync_detailed(id, client=client, body=unmute)
    assert parsed(response, 200, InboxEntry).muted_until is None
    etag = response.headers["ETag"]
    unchanged = retrieve_inbox_entry.sync_detailed(id, client=client, if_none_match=etag)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert delete_conversation.sync_detailed(other.id, client=client).status_code == 204
    absent = retrieve_inbox_entry.sync_detailed(other.id, client=client)
    assert rejected(absent, 404) == "conversation_id: no such conversation"


def feed(client: AuthenticatedClient, id: str) -> None:
    """Reads the feed from its beginning, until the message that was sent appears."""
    read: list[Change] = []
    until = time.monotonic() + 60
    while not any(change.type_ is ChangeType.MESSAGE_CREATED for change in read):
        assert time.monotonic() < until, read
        page = parsed(list_changes.sync_detailed(client=client, starting_after=len(read), limit=100), 200, Changes)
        read += page.data
    assert [change.number for change in read] == list(range(1, len(read) + 1))
    created = read[0]
    assert (created.id, created.version, created.type_) == (id, 1, ChangeType.CONVERSATION_CREATED)
    assert isinstance(created.object_, Conversation)
    assert created.object_.contact_id == "harry"
    message = next(change.object_ for change in read if change.type_ is ChangeType.MESSAGE_CREATED)
    assert isinstance(message, Message)
    head = parsed(list_changes.sync_detailed(client=client), 200, Changes).head
    assert head >= len(read)
    beyond = list_changes.sync_detailed(client=client, starting_after=head + 1000)
    assert rejected(beyond, 400).startswith("starting_after: must be at most the head, ")


if __name__ == "__main__":
    drive(AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2], raise_on_unexpected_status=True))
