"""API2 and API5: forged, expired, foreign and misplaced tokens are rejected, and scopes are enforced."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import requests
from coherent import ids
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.security.attacks import AUTHENTICATION, FUNCTION_AUTHORIZATION, RecordAttack, trap, unchanged
from tests.stack import CALLS, Client, Stack, leak_free_error, send_raw
from tools.local import users
from tools.local.environment import emulator_url

UNAUTHORIZED = (401, "Authorization: must be 'Bearer ' and a valid access token with the scope of this call")
# From the function, where the authorizer accepted a token without a valid user.
NO_USER = (401, "Authorization: must be 'Bearer ' and a valid access token")
PASSWORD = "Keep-the-change-1990"

Json = dict[str, Any]


class Forger:
    """Makes tokens from a valid token, the user pool's public key, a key of its own, and the pool's private key."""

    def __init__(self, stack: Stack, token: str, trap_url: str, requested_paths: list[str]) -> None:
        """Tokens with URLs point to *trap_url*; *requested_paths* shows whether these were requested."""
        header, claims, _ = token.split(".")
        self.token, self.header, self.claims = token, decode_json(header), decode_json(claims)
        self.trap_url, self.requested_paths = trap_url, requested_paths
        self.own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pool_id = stack.outputs()["UserPoolId"]
        jwks = requests.get(f"{emulator_url(stack.port)}/{pool_id}/.well-known/jwks.json", timeout=30).json()
        self.jwk: Json
        (self.jwk,) = [jwk for jwk in jwks["keys"] if jwk["kid"] == self.header["kid"]]
        pem = stack.home / f"state/cognito-pool-keys/{pool_id}-access.pem"
        self.pool_key = serialization.load_pem_private_key(pem.read_bytes(), None)

    def signed(self, header: Json | None = None, claims: Json | None = None, key: object = None) -> str:
        """Returns a token with changed header and claims, signed with RS256 by *key* or the forger's key."""
        content = encode_json(self.header | (header or {}), self.claims | (claims or {}))
        return self._sign(content, key or self.own_key)

    def signed_by_pool(self, claims: Json) -> str:
        """Returns a token with changed *claims*, signed with the pool's private key."""
        return self.signed(claims=claims, key=self.pool_key)

    def signed_by_secret(self, secret: bytes, header: Json | None = None) -> str:
        """Returns a token signed with HS256."""
        content = encode_json(self.header | {"alg": "HS256"} | (header or {}), self.claims)
        return f"{content}.{encode(hmac.digest(secret, content.encode(), hashlib.sha256))}"

    def without(self, claim: str) -> str:
        """Returns a token without *claim*, signed with the pool's private key."""
        claims = {name: value for name, value in self.claims.items() if name != claim}
        return self._sign(encode_json(self.header, claims), self.pool_key)

    def own_jwk(self) -> Json:
        """Returns the forger's public key as a JWK with the kid of the pool's key."""
        numbers = self.own_key.public_key().public_numbers()
        return self.jwk | {"n": encode(numbers.n.to_bytes(256, "big")), "e": encode(numbers.e.to_bytes(3, "big"))}

    def public_pem(self) -> bytes:
        """Returns the pool's public key as PEM."""
        n, e = (int.from_bytes(decode(self.jwk[name]), "big") for name in ("n", "e"))
        public = rsa.RSAPublicNumbers(e, n).public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def unsigned(self, header: Json, signature: str = "") -> str:
        """Returns a token with an invented *signature*."""
        return f"{encode_json(self.header | header, self.claims)}.{signature}"

    @staticmethod
    def _sign(content: str, key: object) -> str:
        assert isinstance(key, rsa.RSAPrivateKey)
        return f"{content}.{encode(key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "==")


def decode_json(part: str) -> Json:
    content: Json = json.loads(decode(part))
    return content


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def encode_json(*parts: Json) -> str:
    return ".".join(encode(json.dumps(part).encode()) for part in parts)


class Owner(NamedTuple):
    """A user with a conversation, created with an idempotency key in the format of an id."""

    client: Client
    conversation: Json
    key: str


@pytest.fixture(scope="module")
def kate(stack: Stack) -> Iterator[Owner]:
    """The victim, shared because no test may change anything of hers."""
    client, key = stack.client("kate"), ids.new(time.time_ns())
    created = client.send("POST", "/conversations", json={"contact_id": "marv"}, headers={"Idempotency-Key": key})
    yield Owner(client, created.json(), key)
    client.send("DELETE", created.headers["Location"])


@pytest.fixture(scope="module")
def forger(stack: Stack, kate: Owner) -> Iterator[Forger]:
    """Forges tokens of kate."""
    with trap() as (url, requested_paths):
        yield Forger(stack, kate.client.token, url, requested_paths)


NOW = int(time.time())
# Tokens that the authorizer must reject before a function runs.
FORGED: dict[str, Callable[[Forger], str]] = {
    "signed by the attacker's key": lambda forger: forger.signed(),
    "alg none without a signature": lambda forger: forger.unsigned({"alg": "none"}),
    "alg nOnE without a signature": lambda forger: forger.unsigned({"alg": "nOnE"}),
    "alg none with the valid signature": lambda forger: forger.unsigned({"alg": "none"}, forger.token.split(".")[2]),
    "no alg": lambda forger: forger.unsigned({"alg": None}),
    "alg as a list": lambda forger: forger.signed({"alg": ["RS256", "none"]}),
    "HS256 by the public key as PEM": lambda forger: forger.signed_by_secret(forger.public_pem()),
    "HS256 by the public key without the final newline": lambda forger: forger.signed_by_secret(
        forger.public_pem().strip()
    ),
    "HS256 by the modulus": lambda forger: forger.signed_by_secret(decode(forger.jwk["n"])),
    "HS256 by the key's id": lambda forger: forger.signed_by_secret(forger.jwk["kid"].encode()),
    "HS256 by an empty secret": lambda forger: forger.signed_by_secret(b""),
    "HS256 by the empty file /dev/null": lambda forger: forger.signed_by_secret(b"", {"kid": "../../../../dev/null"}),
    "a key in jwk": lambda forger: forger.signed({"jwk": forger.own_jwk()}),
    "a key in x5c": lambda forger: forger.signed({"x5c": [encode(forger.public_pem())]}),
    "a URL of keys in jku": lambda forger: forger.signed({"jku": f"{forger.trap_url}/jwks.json"}),
    "a URL of keys in x5u": lambda forger: forger.signed({"x5u": f"{forger.trap_url}/x5u"}),
    "a URL as kid": lambda forger: forger.signed({"kid": f"{forger.trap_url}/kid"}),
    "a path as kid": lambda forger: forger.signed({"kid": "../../../../etc/passwd"}),
    "a query as kid": lambda forger: forger.signed({"kid": "x' UNION SELECT 'key"}),
    "no kid": lambda forger: forger.signed({"kid": None}),
    "a list as kid": lambda forger: forger.signed({"kid": ["x"]}),
    "the signature removed": lambda forger: forger.token.rpartition(".")[0] + ".",
    "the signature and its dot removed": lambda forger: forger.token.rpartition(".")[0],
    "the signature truncated": lambda forger: forger.token[:-8],
    "the signature of another token": lambda forger: forger.unsigned({"x": 1}, forger.token.split(".")[2]),
    "a signature of zeros": lambda forger: forger.unsigned({}, encode(bytes(256))),
    "a fourth part": lambda forger: f"{forger.token}.x",
    "claims replaced under a valid signature": lambda forger: forger.token.replace(
        forger.token.split(".")[1], encode_json(forger.claims | {"sub": "harry"})
    ),
    "an encrypted token of five parts": lambda _: ".".join(
        [encode_json({"alg": "dir", "enc": "A256GCM"}), "", "x", "x", "x"]
    ),
    "claims that are not an object": lambda forger: f"{encode_json(forger.header)}.{encode(b'[]')}.x",
    "deeply nested claims": lambda forger: f"{encode_json(forger.header)}.{encode(b'[' * 5000)}.x",
    "only dots": lambda _: "..",
    "another issuer": lambda forger: forger.signed(claims={"iss": forger.trap_url}),
    "another issuer, signed by the pool's key": lambda forger: forger.signed_by_pool(
        {"iss": f"{forger.claims['iss']}x"}
    ),
    "the issuer with a trailing slash": lambda forger: forger.signed_by_pool({"iss": f"{forger.claims['iss']}/"}),
    "several issuers": lambda forger: forger.signed_by_pool({"iss": [forger.claims["iss"]]}),
    "no issuer": lambda forger: forger.without("iss"),
    "expired a moment ago": lambda forger: forger.signed_by_pool({"exp": NOW - 1}),
    "expired long ago": lambda forger: forger.signed_by_pool({"exp": 1}),
    "an expiry that is not a number": lambda forger: forger.signed_by_pool({"exp": "never"}),
    "not yet valid": lambda forger: forger.signed_by_pool({"nbf": NOW + 3600}),
    "issued in the future": lambda forger: forger.signed_by_pool({"iat": NOW + 3600}),
    "no scope": lambda forger: forger.without("scope"),
    "an empty scope": lambda forger: forger.signed_by_pool({"scope": ""}),
    "look-alike scopes": lambda forger: forger.signed_by_pool(
        {"scope": "conversations conversations/* Conversations/Read xconversations/read conversations/read\u200b"}
    ),
    "a scope as a list": lambda forger: forger.signed_by_pool({"scope": ["conversations/read", "conversations/write"]}),
    "a scope of Cognito's own API": lambda forger: forger.signed_by_pool({"scope": "aws.cognito.signin.user.admin"}),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_forged_token_is_rejected(
    forgery: str, stack: Stack, kate: Owner, forger: Forger, record_attack: RecordAttack
) -> None:
    forged, id = FORGED[forgery](forger), kate.conversation["id"]
    calls = ["GET /conversations", f"GET /conversations/{id}", f"DELETE /conversations/{id}"]
    with unchanged(stack, kate.client):
        for call in calls:
            response = send_raw(kate.client, call, token=forged)
            assert leak_free_error(response, kate.client.user_id, id) == UNAUTHORIZED
            assert response.headers["WWW-Authenticate"] == "Bearer"
    assert forger.requested_paths == []
    record_attack(AUTHENTICATION, f"a forged token: {forgery}", "401", len(calls))


# Users that Cognito never creates. KATE stands for her user id.
INVALID_USERS: dict[str, Json] = {
    "no user": {"sub": None},
    "an empty user": {"sub": ""},
    "the partition of tombstones": {"sub": "purge"},
    "the partition of kate's idempotency keys": {"sub": "idempotency#KATE"},
    "a partition of kate's group": {"sub": "KATE#friends"},
}


@pytest.mark.parametrize("user", INVALID_USERS)
def test_valid_token_with_invalid_user_is_rejected(
    user: str, stack: Stack, kate: Owner, forger: Forger, record_attack: RecordAttack
) -> None:
    claims, key = json.loads(json.dumps(INVALID_USERS[user]).replace("KATE", kate.client.user_id)), kate.key
    token = forger.signed_by_pool(claims)
    calls = ["GET /conversations", "GET /conversations?muted=false", f"GET /conversations/{key}", "GET /messages"]
    calls += [f"DELETE /conversations/{key}", f"GET /conversations?group_id={key}"]
    with unchanged(stack, kate.client):
        for call in calls:
            assert leak_free_error(send_raw(kate.client, call, token=token), kate.client.user_id) == NO_USER
    record_attack(AUTHENTICATION, f"a token signed by the pool for {user}", "401 from the function", len(calls))


def test_token_of_another_user_pool_is_rejected(stack: Stack, kate: Owner, record_attack: RecordAttack) -> None:
    cognito = stack.aws("cognito-idp")
    pool_id = cognito.create_user_pool(PoolName="foreign")["UserPool"]["Id"]
    try:
        token = stack.foreign_token(pool_id)
    finally:
        cognito.delete_user_pool(UserPoolId=pool_id)
    claims = users.claims(token)
    assert set(claims["scope"].split()) == set(users.SCOPES)
    assert claims["iss"].endswith(pool_id)
    for method, path, _ in CALLS:
        assert leak_free_error(send_raw(kate.client, f"{method} {path}", token=token)) == UNAUTHORIZED
    record_attack(AUTHENTICATION, "a valid token of another user pool, with all scopes", "401", len(CALLS))


class Person(NamedTuple):
    """The tokens of a user who signed in with a password."""

    id_token: str
    access_token: str
    refresh_token: str


@pytest.fixture
def person(stack: Stack) -> Iterator[Person]:
    """A user of the stack's own pool whose tokens have no scope of the API."""
    cognito, pool_id = stack.aws("cognito-idp"), stack.outputs()["UserPoolId"]
    name = "buzz@example.com"
    client_id = cognito.create_user_pool_client(
        UserPoolId=pool_id, ClientName="people", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool_id, Username=name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool_id, Username=name, Password=PASSWORD, Permanent=True)
    tokens = cognito.admin_initiate_auth(
        UserPoolId=pool_id,
        ClientId=client_id,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    yield Person(tokens["IdToken"], tokens["AccessToken"], tokens["RefreshToken"])
    cognito.admin_delete_user(UserPoolId=pool_id, Username=name)
    cognito.delete_user_pool_client(UserPoolId=pool_id, ClientId=client_id)


@pytest.mark.parametrize("kind", Person._fields)
def test_sign_in_token_without_scope_is_rejected(
    kind: str, kate: Owner, person: Person, record_attack: RecordAttack
) -> None:
    token = getattr(person, kind)
    for method, path, _ in CALLS:
        assert leak_free_error(send_raw(kate.client, f"{method} {path}", token=token)) == UNAUTHORIZED
    attack = f"the {kind.replace('_', ' ')} of a user who signed in with a password, without a scope of the API"
    record_attack(AUTHENTICATION, attack, "401", len(CALLS))


def test_token_is_read_only_from_the_authorization_header(
    stack: Stack, kate: Owner, record_attack: RecordAttack
) -> None:
    token, user_id, id = kate.client.token, kate.client.user_id, kate.conversation["id"]
    path = f"/conversations/{id}"
    headers = [
        *(
            f"Authorization: {value}"
            for value in (f"Basic {token}", f"Bearer Bearer {token}", f"Token {token}", "Bearer")
        ),
        *(f"{name}: Bearer {token}" for name in ("X-Authorization", "Proxy-Authorization", "X-Amz-Security-Token")),
        *(f"{name}: {token}" for name in ("X-Access-Token", "X-Forwarded-Access-Token", "X-Amzn-Oidc-Accesstoken")),
        f"Cookie: access_token={token}; Authorization=Bearer {token}; token={token}",
        f"X-User-Id: {user_id}",
        f"X-Amzn-Oidc-Identity: {user_id}",
        'X-Amzn-Request-Context: {"authorizer":{"claims":{"sub":"' + user_id + '"}}}',
    ]
    with unchanged(stack, kate.client):
        anonymous = Client(stack.api_url, None)
        for header in headers:
            name, _, value = header.partition(": ")
            response = anonymous.send("GET", path, headers={name: value})
            assert leak_free_error(response, user_id, id) == UNAUTHORIZED, name
        for query in ("access_token", "token", "Authorization", "authorization", "jwt", "sub"):
            value = user_id if query == "sub" else token
            assert leak_free_error(anonymous.send("GET", path, params={query: value}), id) == UNAUTHORIZED
        body = {"access_token": token, "Authorization": f"Bearer {token}", "is_muted": "true"}
        assert leak_free_error(anonymous.send("PUT", path, data=body)) == UNAUTHORIZED
        anonymous.close()
    attempts = len(headers) + 7
    record_attack(
        AUTHENTICATION, "a valid token in cookies, queries, bodies, other headers and schemes", "401", attempts
    )


@pytest.mark.parametrize("scope", users.SCOPES)
def test_scope_allows_only_its_own_calls(scope: str, stack: Stack, record_attack: RecordAttack) -> None:
    client = stack.client("kate", scope)
    allowed = set()
    for method, path, needed in CALLS:
        response = client.send(method, path)
        if response.status_code == 401:
            assert leak_free_error(response) == UNAUTHORIZED
        else:
            allowed.add((method, path, needed))
    assert allowed == {call for call in CALLS if call[2] == scope}
    outcome = f"401 except for the {len(allowed)} calls of this scope"
    record_attack(FUNCTION_AUTHORIZATION, f"every call with a token of {scope} alone", outcome, len(CALLS))


# Cognito's authorizer checks these and the emulator's does not. Only the pool's private key can sign them.
NOT_TESTABLE: dict[str, tuple[Json, Json]] = {
    "alg none with a valid signature": ({"alg": "none"}, {}),
    "an unknown critical header": ({"crit": ["x"], "x": 1}, {}),
    "token_use id, with scopes": ({}, {"token_use": "id"}),
    "token_use refresh, with scopes": ({}, {"token_use": "refresh"}),
    "an unknown client": ({}, {"client_id": "nobody"}),
}


@pytest.mark.parametrize("forgery", NOT_TESTABLE)
def test_token_signed_by_pool_key_reaches_only_its_user(
    forgery: str, stack: Stack, kate: Owner, forger: Forger, record_attack: RecordAttack
) -> None:
    header, claims = NOT_TESTABLE[forgery]
    token = forger.signed(header, claims | {"sub": "somebody"}, forger.pool_key)
    with unchanged(stack, kate.client):
        for call in ("GET /conversations", "GET /messages"):
            response = send_raw(kate.client, call, token=token)
            assert (response.status_code, response.json()) == (200, {"has_more": False, "data": []})
        for method in ("GET", "DELETE"):
            response = send_raw(kate.client, f"{method} /conversations/{kate.conversation['id']}", token=token)
            assert leak_free_error(response, kate.client.user_id) == (404, "id: no such conversation")
    outcome = "not shown: the emulator's authorizer accepts it, as a token of its sub only"
    record_attack(AUTHENTICATION, f"signed by the pool's private key: {forgery}", outcome, 4)
