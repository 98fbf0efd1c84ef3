"""Every five minutes: finishes the purges that the stream did not."""

import os

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from coherent import dynamodb, errors
from coherent.messages.purge import Purge

purge = Purge(dynamodb.connect(), os.environ["MESSAGES_TABLE_NAME"], os.environ["CONVERSATIONS_TABLE_NAME"])
logger = Logger()


def handler(_event: object, context: LambdaContext) -> None:
    for user_id, conversation_id in purge.orders():
        try:
            if not purge.finish(user_id, conversation_id, context.get_remaining_time_in_millis() / 1000):
                break
        except errors.Unavailable:
            logger.warning("A purge waits for the next sweep", exc_info=True, extra={"conversation": conversation_id})
