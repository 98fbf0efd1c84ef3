"""POST /v1/conversations: a new conversation with a contact, a group or both."""

import os

from coherent import api, dynamodb
from coherent.conversations.models import CreateConversation
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(
    dynamodb.connect(), os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
)


@api.endpoint("create_conversation", takes_body=True)
def handler(request: api.Request) -> api.Response:
    body = request.body(CreateConversation)
    (conversation, version), is_replay = conversations.create(request.user_id, body, request.idempotency_key)
    return api.created(request, conversation, version, is_replay=is_replay)
