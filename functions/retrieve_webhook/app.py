"""GET /v1/webhooks/{id}: retrieves a webhook, without its secret."""

from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb, rows
from coherent.webhooks.repository import WebhookRepository, webhook_of

webhooks = WebhookRepository(dynamodb.connect())


@endpoint("retrieve_webhook")
def handler(request: Request) -> Response:
    row = webhooks.row(request.id("webhook"))
    version = rows.version(row)
    if request.is_not_modified(version):
        return Response(304, headers=etags.header(version))
    return Response(200, webhook_of(row), etags.header(version))
