"""The HTTP client of webhooks, against a real https server that misbehaves."""

import socket
import ssl
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path

import pytest
import trustme
from coherent.webhooks import request
from coherent.webhooks.addresses import Target

from tests import receiver
from tests.receiver import Receiver, receiving, responding
from tests.server import Handler, listening

SECONDS = 0.5
# What a busy machine may add.
TOLERANCE = 2


@pytest.fixture
def client(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> request.Client:
    """A client that trusts *authority* in place of the system's."""
    monkeypatch.setenv("SSL_CERT_FILE", str(receiver.trust(authority, tmp_path)))
    return request.Client()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Receiver]:
    with receiving(authority, "hooks.test") as server:
        yield server


def target(server: Receiver, host: str = "hooks.test") -> Target:
    return Target(host, server.port, "/hook?key=1", ["127.0.0.1"])


def test_request_reaches_the_checked_address_with_the_name_of_the_host(
    client: request.Client, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The host has no address, and proxies of the environment are ignored.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert client.post(target(server), "Zürich".encode(), {"Webhook-Id": "1"}, SECONDS + TOLERANCE) == 204
    ((_, path, headers, body),) = server.received
    assert (path, body, headers["webhook-id"]) == ("/hook?key=1", "Zürich".encode(), "1")
    assert headers["host"] == f"hooks.test:{server.port}"


@pytest.mark.parametrize("status", [200, 299, 300, 307, 404, 410, 500])
def test_status_is_returned_and_redirects_are_not_followed(
    client: request.Client, server: Receiver, status: int
) -> None:
    server.behaviour = responding(status, b"{}", Location=f"https://hooks.test:{server.port}/elsewhere")
    assert client.post(target(server), b"", {}, SECONDS + TOLERANCE) == status
    assert len(server.received) == 1


def drip(handler: Handler) -> None:
    """Sends a response byte by byte, without end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.01)


def interim(handler: Handler) -> None:
    """Sends 100 Continue without end."""
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def endless_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-A: b\r\n")


def endless_line(handler: Handler) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 200 OK" * 1000)


@pytest.mark.parametrize(
    ("behaviour", "failures"),
    [
        (receiver.hang, TimeoutError),
        (drip, TimeoutError),
        *((behaviour, request.FAILURES) for behaviour in (receiver.close, interim, endless_headers, endless_line)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_misbehaving_endpoint_fails_in_time(
    client: request.Client,
    server: Receiver,
    behaviour: receiver.Behaviour,
    failures: type[Exception] | tuple[type[Exception], ...],
) -> None:
    server.behaviour = behaviour
    started = time.monotonic()
    with pytest.raises(failures):
        client.post(target(server), b"{}", {}, SECONDS)
    assert time.monotonic() - started < SECONDS + TOLERANCE


def endless_body(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(b"a" * 10_000)


def slow_body(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    receiver.hang(handler)


@pytest.mark.parametrize("behaviour", [endless_body, slow_body], ids=lambda b: b.__name__)
def test_body_of_a_response_does_not_matter(
    client: request.Client, server: Receiver, behaviour: receiver.Behaviour
) -> None:
    server.behaviour = behaviour
    started = time.monotonic()
    assert client.post(target(server), b"{}", {}, SECONDS) == 200
    assert time.monotonic() - started < SECONDS + TOLERANCE


def test_certificate_must_be_for_the_host(client: request.Client, server: Receiver) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="hooks"):
        client.post(target(server, "hooks.example"), b"{}", {}, SECONDS + TOLERANCE)
    assert server.received == []


def test_certificate_must_be_of_a_trusted_authority(client: request.Client) -> None:
    with receiving(trustme.CA(), "hooks.test") as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            client.post(target(server), b"{}", {}, SECONDS + TOLERANCE)
        assert server.received == []


def test_endpoint_without_tls_fails(client: request.Client) -> None:
    with listening(Handler) as url, pytest.raises(request.FAILURES):
        client.post(Target("hooks.test", int(url.rpartition(":")[2]), "/", ["127.0.0.1"]), b"{}", {}, SECONDS)


@pytest.mark.parametrize("dripped", [b"", b"\x16"], ids=["silent", "drip"])
def test_endpoint_that_never_finishes_its_handshake_fails_in_time(client: request.Client, dripped: bytes) -> None:
    class _Endpoint(Handler):
        def handle(self) -> None:
            # The header of a TLS record of 16 KB, whose bytes arrive one by one.
            self.connection.sendall(b"\x16\x03\x03\x40\x00" if dripped else b"")
            while dripped:
                self.connection.sendall(b"a")
                time.sleep(0.01)
            receiver.hang(self)

    with listening(_Endpoint) as url:
        started = time.monotonic()
        with pytest.raises(request.FAILURES):
            client.post(Target("hooks.test", int(url.rpartition(":")[2]), "/", ["127.0.0.1"]), b"{}", {}, SECONDS)
        assert time.monotonic() - started < SECONDS + TOLERANCE


def test_endpoint_that_accepts_no_connection_fails(client: request.Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises((OSError, HTTPException)):
        client.post(Target("hooks.test", port, "/", ["127.0.0.1"]), b"{}", {}, SECONDS)
