"""POST /v1/webhooks: creates a webhook and returns its secret."""

from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response, created
from coherent.storage import dynamodb
from coherent.webhooks import addresses
from coherent.webhooks.mapping import QueueMapping
from coherent.webhooks.models import CreateWebhook
from coherent.webhooks.repository import WebhookRepository, webhook_of
from coherent.webhooks.secrets import Secrets

webhooks, secrets, mapping = WebhookRepository(dynamodb.connect()), Secrets(), QueueMapping()


@endpoint("create_webhook", takes_body=True)
def handler(request: Request) -> Response:
    body, key = request.body(CreateWebhook), request.idempotency_key
    addresses.resolve(body.url)
    key_id = secrets.prepare()
    mapping.enable()
    (row, version), is_replay, _ = webhooks.create(request.user_id, body, key_id, key)
    webhook = webhook_of(row)
    webhook["secret"] = secrets.newest(row)
    return created(request, webhook, version, is_replay=is_replay)
