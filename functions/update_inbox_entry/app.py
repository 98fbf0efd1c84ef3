"""PUT /v1/inbox/{conversation_id}: marks a conversation as read or unread, mutes it, or blocks its contact."""

from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.inbox.models import UpdateInboxEntry
from coherent.inbox.repository import InboxRepository
from coherent.storage import dynamodb

inbox = InboxRepository(dynamodb.connect())


@endpoint("update_inbox_entry", takes_body=True)
def handler(request: Request) -> Response:
    changes = request.body(UpdateInboxEntry)
    id = request.id("conversation", "conversation_id")
    entry, version = inbox.update(request.user_id, id, changes, request.preconditions)
    return Response(200, entry, etags.header(version))
