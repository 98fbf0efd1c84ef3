"""A local https server that receives webhooks, with a certificate of an own authority."""

import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import trustme
from standardwebhooks import Webhook

from tests.server import Handler, Response, listening

Behaviour = Callable[[Handler], None]


class Received(NamedTuple):
    """A request as the receiver got it. Names of headers are in lower case, *at* is a monotonic time."""

    at: float
    path: str
    headers: Mapping[str, str]
    body: bytes


class Receiver:
    """The requests of a running server, which responds as *behaviour* does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[Received] = []
        self.behaviour: Behaviour = responding(204)


def responding(status: int, content: bytes = b"", **headers: str) -> Behaviour:
    """Returns a behaviour that responds with *status*."""
    return lambda handler: handler.respond(Response(status, content), headers)


def hang(handler: Handler) -> None:
    """Sends nothing until the client closes the connection."""
    handler.connection.recv(1)
    handler.close_connection = True


def close(handler: Handler) -> None:
    """Closes the connection without a response."""
    handler.close_connection = True


@contextmanager
def receiving(authority: trustme.CA, *names: str) -> Iterator[Receiver]:
    """Yields a server with a certificate of *authority* for *names*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)

    class _Handler(Handler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(time.monotonic(), self.path, headers, body))
            # The client may close the connection first.
            with suppress(OSError):
                receiver.behaviour(self)

    with listening(_Handler, context) as url:
        receiver = Receiver(int(url.rpartition(":")[2]))
        yield receiver


def verify(request: Received, secret: str) -> None:
    """Verifies both signatures of *request* as receivers do."""
    expected = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, request.headers["x-protocol-signature"])
    Webhook(secret).verify(request.body, dict(request.headers))


def trust(authority: trustme.CA, folder: Path) -> Path:
    """Writes the system's certificates and that of *authority* to a file in *folder*, for SSL_CERT_FILE."""
    path, system = folder / "authorities.pem", ssl.get_default_verify_paths().cafile
    path.write_bytes((Path(system).read_bytes() if system else b"") + authority.cert_pem.bytes())
    return path
