"""GET /v1/messages: lists a page of one conversation's messages, or of all messages of the user."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.messages.models import ListMessages
from coherent.messages.repository import MessageRepository
from coherent.storage import dynamodb

messages = MessageRepository(dynamodb.connect())


@endpoint("list_messages", takes_query=True)
def handler(request: Request) -> Response:
    page = messages.list(request.user_id, request.query(ListMessages))
    links = request.links([message["id"] for message in page.data], has_more=page.has_more)
    return Response(200, {"has_more": page.has_more, "data": page.data}, links)
