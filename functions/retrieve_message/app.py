"""GET /v1/messages/{id}: retrieves a message."""

from coherent.http import etags
from coherent.http.endpoint import endpoint
from coherent.http.request import Request
from coherent.http.response import Response
from coherent.messages.repository import MessageRepository
from coherent.storage import dynamodb

messages = MessageRepository(dynamodb.connect())


@endpoint("retrieve_message")
def handler(request: Request) -> Response:
    message, version = messages.retrieve(request.user_id, request.id("message"))
    if request.is_not_modified(version):
        return Response(304, headers=etags.header(version))
    return Response(200, message, etags.header(version))
