"""PUT /v1/messages/{id}: edits a message, sets its reactions, or marks it as read."""

from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.messages.models import UpdateMessage
from coherent.messages.repository import MessageRepository
from coherent.storage import dynamodb

messages = MessageRepository(dynamodb.connect())


@endpoint("update_message", takes_body=True)
def handler(request: Request) -> Response:
    id, changes = request.id("message"), request.body(UpdateMessage)
    message, version = messages.update(request.user_id, id, changes, request.preconditions)
    return Response(200, message, etags.header(version))
