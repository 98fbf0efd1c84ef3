"""GET /v1/inbox: lists a page of the user's inbox, latest activity first."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.inbox.models import ListInbox
from coherent.inbox.repository import InboxRepository
from coherent.storage import dynamodb

inbox = InboxRepository(dynamodb.connect())


@endpoint("list_inbox", takes_query=True)
def handler(request: Request) -> Response:
    page = inbox.list(request.user_id, request.query(ListInbox))
    links = request.links([entry["position"] for entry in page.data], has_more=page.has_more)
    return Response(200, {"has_more": page.has_more, "data": page.data}, links)
