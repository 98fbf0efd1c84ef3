"""GET /v1/inbox/{conversation_id}: retrieves the inbox entry of a conversation."""

from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.inbox.repository import InboxRepository
from coherent.storage import dynamodb

inbox = InboxRepository(dynamodb.connect())


@endpoint("retrieve_inbox_entry")
def handler(request: Request) -> Response:
    entry, version = inbox.retrieve(request.user_id, request.id("conversation", "conversation_id"))
    if request.is_not_modified(version):
        return Response(304, headers=etags.header(version))
    return Response(200, entry, etags.header(version))
