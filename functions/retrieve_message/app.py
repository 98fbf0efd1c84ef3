"""GET /v1/messages/{id}: one message."""

import os

from coherent import api, dynamodb
from coherent.messages.repository import MessageRepository

messages = MessageRepository(
    dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"]
)


@api.endpoint("retrieve_message")
def handler(request: api.Request) -> api.Response:
    message, version = messages.retrieve(request.user_id, request.id("message"))
    if request.has_already(version):
        return api.Response(304, headers=api.etag(version))
    return api.Response(200, message, api.etag(version))
