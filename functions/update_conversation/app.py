"""PUT /v1/conversations/{id}: pins, mutes or archives a conversation, marks it as opened, or pins a message."""

from coherent.conversations.models import UpdateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb

conversations = ConversationRepository(dynamodb.connect())


@endpoint("update_conversation", takes_body=True)
def handler(request: Request) -> Response:
    id, changes = request.id("conversation"), request.body(UpdateConversation)
    conversation, version = conversations.update(request.user_id, id, changes, request.preconditions)
    return Response(200, conversation, etags.header(version))
