"""GET /v1/conversations/{id}: one conversation."""

import os

from coherent import api, dynamodb
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(
    dynamodb.connect(), os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
)


@api.endpoint("retrieve_conversation")
def handler(request: api.Request) -> api.Response:
    conversation, version = conversations.retrieve(request.user_id, request.id("conversation"))
    if request.has_already(version):
        return api.Response(304, headers=api.etag(version))
    return api.Response(200, conversation, api.etag(version))
