"""DELETE /v1/messages/{id}: deletes and unpins a message, or with `for=everyone` all its copies."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.messages.models import DeleteMessage
from coherent.messages.repository import MessageRepository
from coherent.storage import dynamodb

messages = MessageRepository(dynamodb.connect())


@endpoint("delete_message", takes_query=True)
def handler(request: Request) -> Response:
    id, is_for_everyone = request.id("message"), request.query(DeleteMessage).for_ == "everyone"
    messages.delete(request.user_id, id, request.preconditions, is_for_everyone=is_for_everyone)
    return Response(204)
