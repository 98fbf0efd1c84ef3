"""Demo users: people in the user pool of the stack, who sign in as they would in an app."""

import base64
import hashlib
import html
import json
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from botocore.exceptions import BotoCoreError, ClientError

from tools.local import stack
from tools.local.environment import Failure, aws_client, emulator_url

DEMO_USERS = ("kevin", "harry")
SCOPES = ("conversations/read", "conversations/write", "messages/read", "messages/write")
OPERATOR = "operator"
OPERATOR_SCOPES = ("webhooks/write",)


def token(port: int, name: str, scopes: Iterable[str] = SCOPES, stack_name: str = stack.NAME) -> str:
    """Returns a new access token of the user called *name*, and creates the user if needed. Raises `Failure`."""
    try:
        outputs = stack.outputs(port, stack_name)
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"The stack does not respond on port {port}: start it with `make run` ({error}).") from None
    return sign_in(port, outputs["UserPoolId"], outputs["AppClientId"], name, scopes)


def operator_token(port: int, scopes: Iterable[str] = OPERATOR_SCOPES) -> str:
    """Returns a new access token of the stack's service client, by its client credentials. Raises as boto3 does."""
    outputs = stack.outputs(port)
    client = aws_client("cognito-idp", port).describe_user_pool_client(
        UserPoolId=outputs["UserPoolId"], ClientId=outputs["ServiceClientId"]
    )["UserPoolClient"]
    response = requests.post(
        f"{emulator_url(port)}/oauth2/token",
        data={"grant_type": "client_credentials", "scope": " ".join(scopes)},
        auth=(client["ClientId"], client["ClientSecret"]),
        timeout=30,
    )
    response.raise_for_status()
    return str(response.json()["access_token"])


def sign_in(port: int, pool_id: str, client_id: str, name: str, scopes: Iterable[str] = SCOPES) -> str:
    """Returns a new access token of a user of any user pool, and creates the user if needed."""
    # MiniStack requires a capital letter and a digit in each password.
    cognito, email, password = aws_client("cognito-idp", port), f"{name}@example.com", f"Keep-{name}-1990"
    with suppress(cognito.exceptions.UsernameExistsException):
        cognito.admin_create_user(UserPoolId=pool_id, Username=email, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool_id, Username=email, Password=password, Permanent=True)
    client = cognito.describe_user_pool_client(UserPoolId=pool_id, ClientId=client_id)["UserPoolClient"]
    return _authorize(emulator_url(port), client, {"username": email, "password": password}, scopes)


def _authorize(url: str, client: dict[str, Any], credentials: dict[str, str], scopes: Iterable[str]) -> str:
    """Returns an access token, by an authorization code with PKCE from the sign-in page at *url*."""
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    app = {"client_id": client["ClientId"], "redirect_uri": client["CallbackURLs"][0]}
    request = {"response_type": "code", "scope": " ".join(scopes)}
    request |= {"code_challenge": challenge, "code_challenge_method": "S256"}
    page = requests.get(f"{url}/oauth2/authorize", params=app | request, timeout=30)
    page.raise_for_status()
    hidden = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page.text)}
    # The redirect leads to an app that does not exist here.
    redirect = requests.post(f"{url}/login", data=hidden | credentials, allow_redirects=False, timeout=30)
    redirect.raise_for_status()
    (code,) = parse_qs(urlsplit(redirect.headers["Location"]).query)["code"]
    exchange = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    response = requests.post(f"{url}/oauth2/token", data=app | exchange, timeout=30)
    response.raise_for_status()
    return str(response.json()["access_token"])


def claims(token: str) -> dict[str, Any]:
    """Returns the claims of *token* without verifying it."""
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")))
