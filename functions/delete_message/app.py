"""DELETE /v1/messages/{id}: deletes and unpins a message."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.messages.repository import MessageRepository
from coherent.storage import dynamodb

messages = MessageRepository(dynamodb.connect())


@endpoint("delete_message")
def handler(request: Request) -> Response:
    messages.delete(request.user_id, request.id("message"), request.preconditions)
    return Response(204)
