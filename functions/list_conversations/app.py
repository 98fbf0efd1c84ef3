"""GET /v1/conversations: lists a page of the user's conversations."""

from coherent.conversations.models import ListConversations
from coherent.conversations.repository import ConversationRepository
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb

conversations = ConversationRepository(dynamodb.connect())


@endpoint("list_conversations", takes_query=True)
def handler(request: Request) -> Response:
    page = conversations.list(request.user_id, request.query(ListConversations))
    links = request.links([conversation["id"] for conversation in page.data], has_more=page.has_more)
    return Response(200, {"has_more": page.has_more, "data": page.data}, links)
