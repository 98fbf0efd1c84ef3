"""DELETE /v1/conversations/{id}: deletes a conversation with all its messages."""

from coherent.conversations.repository import ConversationRepository
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb

conversations = ConversationRepository(dynamodb.connect())


@endpoint("delete_conversation")
def handler(request: Request) -> Response:
    conversations.delete(request.user_id, request.id("conversation"), request.preconditions)
    return Response(204)
