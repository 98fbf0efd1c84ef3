"""GET /v1/messages: one page of a conversation's messages, or of all the user's."""

import os

from coherent import api, dynamodb
from coherent.messages.models import ListMessages
from coherent.messages.repository import MessageRepository

messages = MessageRepository(
    dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"]
)


@api.endpoint("list_messages", takes_query=True)
def handler(request: api.Request) -> api.Response:
    page = messages.list(request.user_id, request.query(ListMessages))
    links = request.links([message["id"] for message in page.data], has_more=page.has_more)
    return api.Response(200, {"has_more": page.has_more, "data": page.data}, links)
