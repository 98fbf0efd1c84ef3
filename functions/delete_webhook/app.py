"""DELETE /v1/webhooks/{id}: deletes a webhook; events that wait for it are dropped."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb
from coherent.webhooks.repository import WebhookRepository

webhooks = WebhookRepository(dynamodb.connect())


@endpoint("delete_webhook")
def handler(request: Request) -> Response:
    webhooks.delete(request.id("webhook"), request.preconditions)
    return Response(204)
