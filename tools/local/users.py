"""Demo users: app clients of the stack's user pool, which get access tokens with client credentials."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import requests
from botocore.exceptions import BotoCoreError, ClientError

from tools.local import stack
from tools.local.environment import REGION, Failure, aws_client, emulator_url

DEMO_USERS = ("kevin", "harry")
SCOPES = ("conversations/read", "conversations/write", "messages/read", "messages/write")


def token(port: int, name: str, scopes: Iterable[str] = SCOPES) -> str:
    """Returns a new access token of the user called *name*, and creates the user if needed. Raises `Failure`."""
    try:
        client_id, secret = app_client(port, stack.outputs(port)["UserPoolId"], name)
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"The stack does not respond on port {port}: start it with `make run` ({error}).") from None
    return request_token(port, client_id, secret, scopes)


def app_client(port: int, pool_id: str, name: str) -> tuple[str, str]:
    """Returns id and secret of an app client that may request all scopes, and creates it if needed."""
    cognito = aws_client("cognito-idp", port)
    for client in cognito.list_user_pool_clients(UserPoolId=pool_id, MaxResults=60)["UserPoolClients"]:
        if client["ClientName"] == name:
            found = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client["ClientId"])["UserPoolClient"]
            return found["ClientId"], found["ClientSecret"]
    created = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName=name,
        GenerateSecret=True,
        AllowedOAuthFlowsUserPoolClient=True,
        AllowedOAuthFlows=["client_credentials"],
        AllowedOAuthScopes=list(SCOPES),
    )["UserPoolClient"]
    return created["ClientId"], created["ClientSecret"]


def request_token(
    port: int, client_id: str, secret: str, scopes: Iterable[str] = SCOPES, domain: str = stack.NAME
) -> str:
    """Returns an access token for an app client of the user pool whose domain has the prefix *domain*."""
    response = requests.post(
        f"{emulator_url(port)}/oauth2/token",
        data={"grant_type": "client_credentials", "scope": " ".join(scopes)},
        auth=(client_id, secret),
        # The emulator routes sign-in requests by host name.
        headers={"Host": f"{domain}.auth.{REGION}.amazoncognito.com"},
        timeout=30,
    )
    response.raise_for_status()
    return str(response.json()["access_token"])


def claims(token: str) -> dict[str, Any]:
    """Returns the claims of *token* without verifying it."""
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))
