"""DELETE /v1/messages/{id}: gone for good, and unpinned."""

import os

from coherent import api, dynamodb
from coherent.messages.repository import MessageRepository

messages = MessageRepository(
    dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"]
)


@api.endpoint("delete_message")
def handler(request: api.Request) -> api.Response:
    messages.delete(request.user_id, request.id("message"), request.only_versions)
    return api.Response(204)
