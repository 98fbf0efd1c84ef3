"""GET /v1/conversations: one page of the user's conversations."""

import os

from coherent import api, dynamodb
from coherent.conversations.models import ListConversations
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(
    dynamodb.connect(), os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
)


@api.endpoint("list_conversations", takes_query=True)
def handler(request: api.Request) -> api.Response:
    page = conversations.list(request.user_id, request.query(ListConversations))
    links = request.links([conversation["id"] for conversation in page.data], has_more=page.has_more)
    return api.Response(200, {"has_more": page.has_more, "data": page.data}, links)
