"""GET /v1/conversations/{id}: retrieves a conversation."""

from coherent.conversations.repository import ConversationRepository
from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb

conversations = ConversationRepository(dynamodb.connect())


@endpoint("retrieve_conversation")
def handler(request: Request) -> Response:
    conversation, version = conversations.retrieve(request.user_id, request.id("conversation"))
    if request.is_not_modified(version):
        return Response(304, headers=etags.header(version))
    return Response(200, conversation, etags.header(version))
