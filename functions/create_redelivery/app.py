"""POST /v1/webhooks/{id}/redeliveries: sends the events of a period to a webhook again."""

import os

from coherent import errors
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.storage import dynamodb
from coherent.webhooks.models import CreateRedelivery
from coherent.webhooks.queue import WebhookQueue
from coherent.webhooks.repository import Redelivery, WebhookRepository, webhook_of

webhooks, queue = WebhookRepository(dynamodb.connect()), WebhookQueue()


@endpoint("create_redelivery", takes_body=True)
def handler(request: Request) -> Response:
    # Repeating the request repeats events with the same ids, so the key needs no record.
    id, period, _ = request.id("webhook"), request.body(CreateRedelivery), request.idempotency_key
    if not os.environ["CHANGES_TABLE_NAME"]:
        raise errors.InvalidRequest("from, to: this service keeps no changes, so it has none to send again")
    if not webhook_of(webhooks.row(id))["is_enabled"]:
        raise errors.InvalidRequest("id: the webhook must be enabled (is_enabled=true) first")
    redelivery: Redelivery = {"webhook_id": id, "from": period.from_, "to": period.to}
    queue.send_redelivery(id, period.model_dump(by_alias=True))
    return Response(202, redelivery)
