"""A fake DynamoDB on loopback with TLS, which gives the same responses over and over, each after a delay."""

import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.bench import samples, targets
from tools.local.environment import HOST

# About what DynamoDB takes to read or write one item, seen from a function in its region.
DELAY_SECONDS = 0.004


@contextmanager
def running() -> Iterator[Callable[[str], dict[str, str]]]:
    """Serves during the block, and gives a function that returns the variables by which a target reaches the fake."""
    with tempfile.TemporaryDirectory() as name, ThreadingHTTPServer((HOST, 0), _Handler) as server:
        certificate, key = _certificate(Path(name))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        # Handshakes take place in the threads of the connections.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def network(target: str) -> dict[str, str]:
            # A first connection also reads the certificates that the target is deployed with.
            bundle = Path(name) / f"{target}.pem"
            bundle.write_bytes(targets.ca_bundle(target).read_bytes() + b"\n" + certificate.read_bytes())
            url = f"https://{HOST}:{server.server_address[1]}"
            return {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_CA_BUNDLE": str(bundle)}

        yield network
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    responses_by_operation = samples.dynamodb()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(DELAY_SECONDS)
        headers, body = self.responses_by_operation[self.headers["X-Amz-Target"].rpartition(".")[2]]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.wfile.write(f"HTTP/1.1 200 OK\r\n{head}\r\n{body}".encode())

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Returns the files of a self-signed certificate and its key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fake-dynamodb")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return certificate_file, key_file
