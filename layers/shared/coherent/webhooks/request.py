"""The HTTP client of webhooks. Endpoints are not trusted: they may hang, answer without end, or not speak HTTP."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPSConnection

from coherent.webhooks.addresses import Target

# What a request to an endpoint raises if there is no response. ValueError: a URL that HTTP cannot carry.
FAILURES = (OSError, HTTPException, ValueError)
_MAX_RESPONSE_BYTES = 64 * 1024


class Client:
    """Sends requests with the root certificates of the system. Follows no redirects and uses no proxy."""

    def __init__(self) -> None:
        # Not AWS_CA_BUNDLE, which has the authorities of AWS only.
        self._context = ssl.create_default_context()
        self._context.set_alpn_protocols(["http/1.1"])

    def post(self, target: Target, body: bytes, headers: Mapping[str, str], seconds: float) -> int:
        """Returns the status of the response, or raises one of `FAILURES`. Takes at most *seconds*.

        Connects to the first address of *target*: a second resolution of the host could lead elsewhere.
        """
        ends_at = time.monotonic() + seconds
        with (
            socket.create_connection((target.addresses[0], target.port), timeout=seconds) as plain,
            # Timeouts of a socket begin anew with each byte.
            _shut_down_at(ends_at, plain),
            self._secure(plain, target.host) as secure,
        ):
            connection = HTTPSConnection(target.host, target.port, context=self._context)
            connection.sock = secure
            connection.request("POST", target.path, body, dict(headers))
            response = connection.getresponse()
            # An endpoint may fail if the connection closes before it has sent its response.
            with suppress(*FAILURES):
                response.read(_MAX_RESPONSE_BYTES)
            return response.status

    def _secure(self, plain: socket.socket, host: str) -> ssl.SSLSocket:
        # Without the last parameter, http.client would take headers that the end of the connection cuts as complete.
        return self._context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)


@contextmanager
def _shut_down_at(ends_at: float, connected: socket.socket) -> Iterator[None]:
    """Shuts *connected* down at *ends_at*, a monotonic time, unless the block ends before.

    Raises TimeoutError if the block fails after that time.
    """
    # TLS takes over the socket, but not its duplicate.
    with connected.dup() as duplicate:

        def shut_down() -> None:
            with suppress(OSError):
                duplicate.shutdown(socket.SHUT_RDWR)

        watchdog = threading.Timer(ends_at - time.monotonic(), shut_down)
        watchdog.start()
        try:
            yield
        except FAILURES:
            if time.monotonic() < ends_at:
                raise
            # TLS reports the end of the connection, and not why it ended.
            raise TimeoutError from None
        finally:
            watchdog.cancel()
            watchdog.join()
