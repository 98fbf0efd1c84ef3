"""Demo users: app clients of the stack's user pool that get access tokens by client credentials."""

import base64
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.local import stack
from tools.local.environment import REGION, aws_session, emulator_url
from tools.local.failure import Failure

DEMO_USERS = ("kevin", "harry")
SCOPES = ("conversations/read", "conversations/write", "messages/read", "messages/write")


def token(port: int, name: str, scopes: Iterable[str] = SCOPES) -> str:
    """A fresh access token of the user called *name*, who is made if need be. Raises `Failure`."""
    try:
        client_id, secret = _client(port, name)
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"The stack does not answer on port {port}: start it with `make run` ({error}).") from None
    credentials = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - http, to the emulator
        f"{emulator_url(port)}/oauth2/token",
        data=urllib.parse.urlencode({"grant_type": "client_credentials", "scope": " ".join(scopes)}).encode(),
        headers={
            "Authorization": f"Basic {credentials}",
            # The emulator tells sign-in from other services by its host name.
            "Host": f"{stack.NAME}.auth.{REGION}.amazoncognito.com",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 - likewise
        return str(json.load(response)["access_token"])


def claims(token: str) -> dict[str, Any]:
    """What *token* says of its user, `sub` above all, and of itself."""
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return said


def _client(port: int, name: str) -> tuple[str, str]:
    cognito = aws_session().client("cognito-idp", endpoint_url=emulator_url(port))
    pool_id = stack.outputs(port)["UserPoolId"]
    existing = cognito.list_user_pool_clients(UserPoolId=pool_id, MaxResults=60)["UserPoolClients"]
    for client in existing:
        if client["ClientName"] == name:
            described = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client["ClientId"])
            return described["UserPoolClient"]["ClientId"], described["UserPoolClient"]["ClientSecret"]
    made = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName=name,
        GenerateSecret=True,
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthFlows=["client_credentials"],
        AllowedOAuthScopes=list(SCOPES),
    )["UserPoolClient"]
    return made["ClientId"], made["ClientSecret"]
