"""DELETE /v1/conversations/{id}: gone for good."""

import os

from coherent import api, dynamodb
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(
    dynamodb.connect(), os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
)


@api.endpoint("delete_conversation")
def handler(request: api.Request) -> api.Response:
    conversations.delete(request.user_id, request.id("conversation"), request.only_versions)
    return api.Response(204)
