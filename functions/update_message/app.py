"""PUT /v1/messages/{id}: edit, react, attach, or mark as read; what is absent stays as it is."""

import os

from coherent import api, dynamodb
from coherent.messages.models import UpdateMessage
from coherent.messages.repository import MessageRepository

messages = MessageRepository(
    dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"]
)


@api.endpoint("update_message", takes_body=True)
def handler(request: api.Request) -> api.Response:
    id, changes = request.id("message"), request.body(UpdateMessage)
    message, version = messages.update(request.user_id, id, changes, request.only_versions)
    return api.Response(200, message, api.etag(version))
