"""Tokens that are forged, confused, of somebody else, too old, too new or in the wrong place: nobody gets in by one."""

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

from tests.e2e.conftest import Attacked
from tests.e2e.test_conversations import CALLS
from tests.e2e.test_operations import token_of
from tests.security.test_attacks import nothing_changes, trap
from tests.stack import Client, Stack, raw, rejected
from tools.local import users
from tools.local.environment import emulator_url

AUTHENTICATION = "API2:2023 Broken authentication"
FUNCTIONS = "API5:2023 Broken function level authorization"
UNAUTHORIZED = (401, "Authorization: must be 'Bearer ' and a valid access token with the scope of this call")
# Of the function, where the authorizer has let somebody in who is nobody.
UNKNOWN = (401, "Authorization: must be 'Bearer ' and a valid access token")
PASSWORD = "Keep-the-change-1990"

Json = dict[str, Any]


class Forger:
    """Somebody with a good token of their own and the pool's public key; or, an insider, with the pool's own key."""

    def __init__(self, stack: Stack, token: str, trap_url: str, caught: list[str]) -> None:
        """Sends who would follow its tokens to *trap_url*, where they are *caught*."""
        header, claims, _ = token.split(".")
        self.token, self.header, self.claims = token, read(header), read(claims)
        self.trap_url, self.caught = trap_url, caught
        self.own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pool_id = stack.outputs()["UserPoolId"]
        jwks = requests.get(f"{emulator_url(stack.port)}/{pool_id}/.well-known/jwks.json", timeout=30).json()
        self.jwk: Json
        (self.jwk,) = [jwk for jwk in jwks["keys"] if jwk["kid"] == self.header["kid"]]
        kept = stack.home / f"state/cognito-pool-keys/{pool_id}-access.pem"
        self.pools_key = serialization.load_pem_private_key(kept.read_bytes(), None)

    def signed(self, header: Json | None = None, claims: Json | None = None, key: object = None) -> str:
        """A token with such parts of it changed, signed by RS256; without a *key*, by a key of the forger's own."""
        content = joined(self.header | (header or {}), self.claims | (claims or {}))
        signer = key or self.own_key
        assert isinstance(signer, rsa.RSAPrivateKey)
        return f"{content}.{written(signer.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def by_the_pool(self, claims: Json) -> str:
        """A token that the pool itself would have signed, if it had ever made one with such *claims*."""
        return self.signed(claims=claims, key=self.pools_key)

    def by_secret(self, secret: bytes, header: Json | None = None) -> str:
        """A token signed by HS256."""
        content = joined(self.header | {"alg": "HS256"} | (header or {}), self.claims)
        return f"{content}.{written(hmac.digest(secret, content.encode(), hashlib.sha256))}"

    def without(self, claim: str) -> str:
        """A token that the pool would have signed without one of the claims."""
        claims = {name: value for name, value in self.claims.items() if name != claim}
        content = joined(self.header, claims)
        assert isinstance(self.pools_key, rsa.RSAPrivateKey)
        return f"{content}.{written(self.pools_key.sign(content.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def own_jwk(self) -> Json:
        """The forger's own public key, as a JWK with the kid of the pool's."""
        numbers = self.own_key.public_key().public_numbers()
        return self.jwk | {"n": written(numbers.n.to_bytes(256, "big")), "e": written(numbers.e.to_bytes(3, "big"))}

    def public_pem(self) -> bytes:
        """The pool's public key, as people paste it into a configuration."""
        n, e = (int.from_bytes(bytes_of(self.jwk[name]), "big") for name in ("n", "e"))
        public = rsa.RSAPublicNumbers(e, n).public_key()
        return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def unsigned(self, header: Json, signature: str = "") -> str:
        """A token whose *signature* was made up."""
        return f"{joined(self.header | header, self.claims)}.{signature}"


def bytes_of(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "==")


def read(part: str) -> Json:
    content: Json = json.loads(bytes_of(part))
    return content


def written(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def joined(*parts: Json) -> str:
    return ".".join(written(json.dumps(part).encode()) for part in parts)


class Owner(NamedTuple):
    """Somebody with one conversation, made with a key that could be an id."""

    client: Client
    conversation: Json
    key: str


@pytest.fixture(scope="module")
def kate(stack: Stack) -> Iterator[Owner]:
    """For tests that fail if anything of hers changes."""
    client, key = stack.client("kate"), ids.new(time.time_ns())
    made = client.send("POST", "/conversations", json={"contact_id": "marv"}, headers={"Idempotency-Key": key})
    yield Owner(client, made.json(), key)
    client.send("DELETE", made.headers["Location"])


@pytest.fixture(scope="module")
def forger(stack: Stack, kate: Owner) -> Iterator[Forger]:
    """Who wants to be kate."""
    with trap() as (url, caught):
        yield Forger(stack, kate.client.token, url, caught)


NOW = int(time.time())
# Each as the forger makes it: what has to be refused before anything of ours runs.
FORGED: dict[str, Callable[[Forger], str]] = {
    "signed by a key of one's own": lambda forger: forger.signed(),
    "alg none without a signature": lambda forger: forger.unsigned({"alg": "none"}),
    "alg nOnE without a signature": lambda forger: forger.unsigned({"alg": "nOnE"}),
    "alg none with the good signature": lambda forger: forger.unsigned({"alg": "none"}, forger.token.split(".")[2]),
    "no alg": lambda forger: forger.unsigned({"alg": None}),
    "alg as a list": lambda forger: forger.signed({"alg": ["RS256", "none"]}),
    "HS256 by the public key as PEM": lambda forger: forger.by_secret(forger.public_pem()),
    "HS256 by the public key without its last line end": lambda forger: forger.by_secret(forger.public_pem().strip()),
    "HS256 by the modulus": lambda forger: forger.by_secret(bytes_of(forger.jwk["n"])),
    "HS256 by the key's id": lambda forger: forger.by_secret(forger.jwk["kid"].encode()),
    "HS256 by nothing": lambda forger: forger.by_secret(b""),
    "HS256 by the empty file /dev/null": lambda forger: forger.by_secret(b"", {"kid": "../../../../dev/null"}),
    "a key in jwk": lambda forger: forger.signed({"jwk": forger.own_jwk()}),
    "a key in x5c": lambda forger: forger.signed({"x5c": [written(forger.public_pem())]}),
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
    "a signature of zeros": lambda forger: forger.unsigned({}, written(bytes(256))),
    "a fourth part": lambda forger: f"{forger.token}.x",
    "claims exchanged under the signature": lambda forger: forger.token.replace(
        forger.token.split(".")[1], joined(forger.claims | {"sub": "harry"})
    ),
    "encrypted, as five parts": lambda _: ".".join([joined({"alg": "dir", "enc": "A256GCM"}), "", "x", "x", "x"]),
    "claims that are no object": lambda forger: f"{joined(forger.header)}.{written(b'[]')}.x",
    "claims of deep JSON": lambda forger: f"{joined(forger.header)}.{written(b'[' * 5000)}.x",
    "nothing but dots": lambda _: "..",
    "another issuer": lambda forger: forger.signed(claims={"iss": forger.trap_url}),
    "another issuer, by the pool's key": lambda forger: forger.by_the_pool({"iss": f"{forger.claims['iss']}x"}),
    "an issuer beside the right one": lambda forger: forger.by_the_pool({"iss": f"{forger.claims['iss']}/"}),
    "several issuers": lambda forger: forger.by_the_pool({"iss": [forger.claims["iss"]]}),
    "no issuer": lambda forger: forger.without("iss"),
    "expired a moment ago": lambda forger: forger.by_the_pool({"exp": NOW - 1}),
    "expired long ago": lambda forger: forger.by_the_pool({"exp": 1}),
    "an expiry that is no number": lambda forger: forger.by_the_pool({"exp": "never"}),
    "not yet valid": lambda forger: forger.by_the_pool({"nbf": NOW + 3600}),
    "issued in the future": lambda forger: forger.by_the_pool({"iat": NOW + 3600}),
    "no scope": lambda forger: forger.without("scope"),
    "an empty scope": lambda forger: forger.by_the_pool({"scope": ""}),
    "scopes that look alike": lambda forger: forger.by_the_pool(
        {"scope": "conversations conversations/* Conversations/Read xconversations/read conversations/read\u200b"}
    ),
    "a scope as a list": lambda forger: forger.by_the_pool({"scope": ["conversations/read", "conversations/write"]}),
    "of its own pool, for Cognito's own API": lambda forger: forger.by_the_pool(
        {"scope": "aws.cognito.signin.user.admin"}
    ),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_token_opens_nothing(
    forgery: str, stack: Stack, kate: Owner, forger: Forger, attacked: Attacked
) -> None:
    forged, id = FORGED[forgery](forger), kate.conversation["id"]
    calls = ["GET /conversations", f"GET /conversations/{id}", f"DELETE /conversations/{id}"]
    with nothing_changes(stack, kate.client):
        for call in calls:
            response = raw(kate.client, call, token=forged)
            assert rejected(response, kate.client.user_id, id) == UNAUTHORIZED
            assert response.headers["WWW-Authenticate"] == "Bearer"
    assert forger.caught == []
    attacked(AUTHENTICATION, f"a token: {forgery}", "401", len(calls))


# Whom the pool would have to name for that: nobody whom Cognito ever does.
NOBODY: dict[str, Json] = {
    "no user": {"sub": None},
    "an empty user": {"sub": ""},
    "the partition of orders to purge": {"sub": "purge"},
    "the partition of kate's keys": {"sub": "idempotency#KATE"},
    "a partition of kate's groups": {"sub": "KATE#friends"},
}


@pytest.mark.parametrize("user", NOBODY)
def test_a_good_token_of_nobody_opens_nothing(
    user: str, stack: Stack, kate: Owner, forger: Forger, attacked: Attacked
) -> None:
    claims, key = json.loads(json.dumps(NOBODY[user]).replace("KATE", kate.client.user_id)), kate.key
    token = forger.by_the_pool(claims)
    calls = ["GET /conversations", "GET /conversations?muted=false", f"GET /conversations/{key}", "GET /messages"]
    calls += [f"DELETE /conversations/{key}", f"GET /conversations?group_id={key}"]
    with nothing_changes(stack, kate.client):
        for call in calls:
            assert rejected(raw(kate.client, call, token=token), kate.client.user_id) == UNKNOWN
    attacked(AUTHENTICATION, f"a token that the pool itself signed, for {user}", "401 of the function", len(calls))


def test_a_token_of_another_user_pool_opens_nothing(stack: Stack, kate: Owner, attacked: Attacked) -> None:
    cognito = stack.aws("cognito-idp")
    pool_id = cognito.create_user_pool(PoolName="foreign")["UserPool"]["Id"]
    try:
        token = token_of(stack, pool_id, "foreign")
    finally:
        cognito.delete_user_pool_domain(UserPoolId=pool_id, Domain="foreign")
        cognito.delete_user_pool(UserPoolId=pool_id)
    claims = read(token.split(".")[1])
    assert set(claims["scope"].split()) == set(users.SCOPES)
    assert claims["iss"].endswith(pool_id)
    for method, path, _ in CALLS:
        assert rejected(raw(kate.client, f"{method} {path}", token=token)) == UNAUTHORIZED
    attacked(AUTHENTICATION, "a good token of another user pool, with all scopes", "401", len(CALLS))


class Person(NamedTuple):
    """What somebody gets who signs in with a password."""

    id_token: str
    access_token: str
    refresh_token: str


@pytest.fixture
def person(stack: Stack) -> Iterator[Person]:
    """Of the stack's own pool, but without a scope of the API."""
    cognito, pool_id = stack.aws("cognito-idp"), stack.outputs()["UserPoolId"]
    name = "marv@example.com"
    client_id = cognito.create_user_pool_client(
        UserPoolId=pool_id, ClientName="people", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
    )["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool_id, Username=name, MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool_id, Username=name, Password=PASSWORD, Permanent=True)
    given = cognito.admin_initiate_auth(
        UserPoolId=pool_id,
        ClientId=client_id,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": name, "PASSWORD": PASSWORD},
    )["AuthenticationResult"]
    yield Person(given["IdToken"], given["AccessToken"], given["RefreshToken"])
    cognito.admin_delete_user(UserPoolId=pool_id, Username=name)
    cognito.delete_user_pool_client(UserPoolId=pool_id, ClientId=client_id)


@pytest.mark.parametrize("kind", Person._fields)
def test_a_token_of_sign_in_is_no_access_token_of_the_api(
    kind: str, kate: Owner, person: Person, attacked: Attacked
) -> None:
    token = getattr(person, kind)
    for method, path, _ in CALLS:
        assert rejected(raw(kate.client, f"{method} {path}", token=token)) == UNAUTHORIZED
    attack = f"the {kind.replace('_', ' ')} of somebody who signed in with a password, for no scope of the API"
    attacked(AUTHENTICATION, attack, "401", len(CALLS))


def test_a_token_counts_in_its_header_only(stack: Stack, kate: Owner, attacked: Attacked) -> None:
    token, user_id, id = kate.client.token, kate.client.user_id, kate.conversation["id"]
    path = f"/conversations/{id}"
    headers = [
        *(
            f"Authorization: {given}"
            for given in (f"Basic {token}", f"Bearer Bearer {token}", f"Token {token}", "Bearer")
        ),
        *(f"{name}: Bearer {token}" for name in ("X-Authorization", "Proxy-Authorization", "X-Amz-Security-Token")),
        *(f"{name}: {token}" for name in ("X-Access-Token", "X-Forwarded-Access-Token", "X-Amzn-Oidc-Accesstoken")),
        f"Cookie: access_token={token}; Authorization=Bearer {token}; token={token}",
        f"X-User-Id: {user_id}",
        f"X-Amzn-Oidc-Identity: {user_id}",
        'X-Amzn-Request-Context: {"authorizer":{"claims":{"sub":"' + user_id + '"}}}',
    ]
    with nothing_changes(stack, kate.client):
        stranger = Client(stack.api_url, None)
        for header in headers:
            name, _, value = header.partition(": ")
            response = stranger.send("GET", path, headers={name: value})
            assert rejected(response, user_id, id) == UNAUTHORIZED, name
        for query in ("access_token", "token", "Authorization", "authorization", "jwt", "sub"):
            value = user_id if query == "sub" else token
            assert rejected(stranger.send("GET", path, params={query: value}), id) == UNAUTHORIZED
        body = {"access_token": token, "Authorization": f"Bearer {token}", "is_muted": "true"}
        assert rejected(stranger.send("PUT", path, data=body)) == UNAUTHORIZED
        stranger.close()
    attempts = len(headers) + 7
    attacked(AUTHENTICATION, "a good token in cookies, queries, bodies, other headers and schemes", "401", attempts)


@pytest.mark.parametrize("scope", users.SCOPES)
def test_a_scope_opens_its_own_calls_and_no_other(scope: str, stack: Stack, attacked: Attacked) -> None:
    client = stack.client("kate", scope)
    opened = set()
    for method, path, wanted in CALLS:
        response = client.send(method, path)
        if response.status_code == 401:
            assert rejected(response) == UNAUTHORIZED
        else:
            opened.add((method, path, wanted))
    assert opened == {call for call in CALLS if call[2] == scope}
    outcome = f"401 but for the {len(opened)} calls of this scope"
    attacked(FUNCTIONS, f"every call with a token of {scope} alone", outcome, len(CALLS))


# What Cognito's authorizer has to look at itself, and the emulator's does not; only the pool's own key gets that far.
NOT_SHOWN: dict[str, tuple[Json, Json]] = {
    "alg none over a good signature": ({"alg": "none"}, {}),
    "an unknown critical header": ({"crit": ["x"], "x": 1}, {}),
    "token_use id, with scopes": ({}, {"token_use": "id"}),
    "token_use refresh, with scopes": ({}, {"token_use": "refresh"}),
    "an unknown client": ({}, {"client_id": "nobody"}),
}


@pytest.mark.parametrize("forgery", NOT_SHOWN)
def test_what_the_pools_own_key_signs_is_still_one_user_only(
    forgery: str, stack: Stack, kate: Owner, forger: Forger, attacked: Attacked
) -> None:
    header, claims = NOT_SHOWN[forgery]
    token = forger.signed(header, claims | {"sub": "somebody"}, forger.pools_key)
    with nothing_changes(stack, kate.client):
        for call in ("GET /conversations", "GET /messages"):
            response = raw(kate.client, call, token=token)
            assert (response.status_code, response.json()) == (200, {"has_more": False, "data": []})
        for method in ("GET", "DELETE"):
            response = raw(kate.client, f"{method} /conversations/{kate.conversation['id']}", token=token)
            assert rejected(response, kate.client.user_id) == (404, "id: no such conversation")
    outcome = "not shown: the emulator's authorizer takes it; it opens what its sub owns, and nothing else"
    attacked(AUTHENTICATION, f"signed by the pool's own key: {forgery}", outcome, 4)
