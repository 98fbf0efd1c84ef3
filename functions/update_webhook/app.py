"""PUT /v1/webhooks/{id}: changes a webhook, enables or disables it, or rotates its secret."""

from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb
from coherent.webhooks import addresses
from coherent.webhooks.mapping import QueueMapping
from coherent.webhooks.models import UpdateWebhook
from coherent.webhooks.repository import WebhookRepository, webhook_of
from coherent.webhooks.secrets import Secrets

webhooks, secrets, mapping = WebhookRepository(dynamodb.connect()), Secrets(), QueueMapping()


@endpoint("update_webhook", takes_body=True)
def handler(request: Request) -> Response:
    id, changes = request.id("webhook"), request.body(UpdateWebhook)
    if changes.url:
        addresses.resolve(changes.url)
    key_id = secrets.prepare() if changes.rotate_secret else None
    if changes.is_enabled:
        mapping.enable()
    row, version = webhooks.update(id, changes, key_id, request.preconditions)
    webhook = webhook_of(row)
    if changes.rotate_secret:
        webhook["secret"] = secrets.newest(row)
    return Response(200, webhook, etags.header(version))
