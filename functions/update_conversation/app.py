"""PUT /v1/conversations/{id}: pin, mute, archive, mark as opened, or pin a message; what is absent stays as it is."""

import os

from coherent import api, dynamodb
from coherent.conversations.models import UpdateConversation
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(
    dynamodb.connect(), os.environ["CONVERSATIONS_TABLE_NAME"], os.environ["MESSAGES_TABLE_NAME"]
)


@api.endpoint("update_conversation", takes_body=True)
def handler(request: api.Request) -> api.Response:
    id, changes = request.id("conversation"), request.body(UpdateConversation)
    conversation, version = conversations.update(request.user_id, id, changes, request.only_versions)
    return api.Response(200, conversation, api.etag(version))
