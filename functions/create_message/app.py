"""POST /v1/messages: sends a message of the user."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response, created
from coherent.messages.models import CreateMessage
from coherent.messages.repository import MessageRepository
from coherent.storage import dynamodb

messages = MessageRepository(dynamodb.connect())


@endpoint("create_message", takes_body=True)
def handler(request: Request) -> Response:
    body = request.body(CreateMessage)
    (message, version), is_replay, _ = messages.create(request.user_id, body, request.idempotency_key)
    return created(request, message, version, is_replay=is_replay)
