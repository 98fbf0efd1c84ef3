"""POST /v1/conversations: creates or finds a conversation with a contact, a group, or a contact in a group."""

from coherent.conversations.models import CreateConversation
from coherent.conversations.repository import ConversationRepository
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response, created
from coherent.storage import dynamodb

conversations = ConversationRepository(dynamodb.connect())


@endpoint("create_conversation", takes_body=True)
def handler(request: Request) -> Response:
    body = request.body(CreateConversation)
    (conversation, version), is_replay, is_found = conversations.create(request.user_id, body, request.idempotency_key)
    return created(request, conversation, version, is_replay=is_replay, is_found=is_found)
