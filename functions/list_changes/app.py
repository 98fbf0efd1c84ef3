"""GET /v1/changes: lists what has changed in the user's conversations and messages, oldest first."""

from coherent.changes.feed import Feed
from coherent.changes.models import ListChanges
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb

feed = Feed(dynamodb.connect().client)


@endpoint("list_changes", takes_query=True)
def handler(request: Request) -> Response:
    page = feed.list(request.user_id, request.query(ListChanges))
    links = request.next_link(str(page.data[-1]["number"])) if page.has_more else {}
    return Response(200, {"has_more": page.has_more, "data": page.data, "head": page.head}, links)
