"""GET /v1/webhooks: lists all webhooks of the stack."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb
from coherent.webhooks.repository import WebhookRepository

webhooks = WebhookRepository(dynamodb.connect())


@endpoint("list_webhooks")
def handler(_request: Request) -> Response:
    # At most 20.
    return Response(200, {"has_more": False, "data": webhooks.list()})
