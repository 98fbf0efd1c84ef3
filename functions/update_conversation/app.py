"""PUT /v1/conversations/{id}: pin, mute, archive, mark as opened, or pin a message; what is absent stays as it is."""

import os

from coherent import api, dynamodb
from coherent.conversations.models import UpdateConversation
from coherent.conversations.repository import ConversationRepository

conversations = ConversationRepository(dynamodb.connect(), os.environ["TABLE_NAME"])


@api.endpoint()
def handler(request: api.Request) -> api.Response:
    conversation = conversations.update(request.user_id, request.id, request.body(UpdateConversation))
    return api.Response(200, conversation)
