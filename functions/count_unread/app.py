"""GET /v1/unread: counts the user's unread conversations and their unread messages."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.inbox.models import CountUnread
from coherent.inbox.repository import InboxRepository
from coherent.storage import dynamodb

inbox = InboxRepository(dynamodb.connect())


@endpoint("count_unread", takes_query=True)
def handler(request: Request) -> Response:
    return Response(200, inbox.count_unread(request.user_id, request.query(CountUnread).entries))
