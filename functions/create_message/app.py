"""POST /v1/messages: the user says something in a conversation."""

import os

from coherent import api, dynamodb
from coherent.messages.models import CreateMessage
from coherent.messages.repository import MessageRepository

messages = MessageRepository(
    dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"]
)


@api.endpoint("create_message", takes_body=True)
def handler(request: api.Request) -> api.Response:
    body = request.body(CreateMessage)
    (message, version), is_replay = messages.create(request.user_id, body, None, request.idempotency_key)
    return api.created(request, message, version, is_replay=is_replay)
