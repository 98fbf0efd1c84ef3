"""POST /v1/conversations: a new conversation with a contact, a group or both."""

import os

from coherent import api, dynamodb
from coherent.conversations.models import CreateConversation
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(dynamodb.connect(), os.environ["TABLE_NAME"])


@api.endpoint()
def handler(request: api.Request) -> api.Response:
    conversation = conversations.create(request.user_id, request.body(CreateConversation))
    return api.Response(201, conversation, {"Location": f"{request.url}/{conversation['id']}"})
