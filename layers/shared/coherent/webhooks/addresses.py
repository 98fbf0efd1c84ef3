"""The addresses of webhooks: https URLs of public hosts, so that webhooks cannot reach private networks."""

import ipaddress
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from coherent import errors

MAX_LENGTH = 2048
RULE = f"an https URL of at most {MAX_LENGTH:,} characters, such as https://example.com/webhook"

# getaddrinfo has no timeout of its own: a resolver that does not respond would outlast the invocation.
_RESOLVER_SECONDS = 4
_LABEL = "[0-9A-Za-z]([0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
# Excludes white space, backslashes, quotes and other characters that parsers of URLs read differently.
_CHARACTER = r"[!$-;=?-Z\[\]_a-z~]"
_URL = re.compile(
    rf"(?i:https)://(?P<host>{_LABEL}(\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{{1,5}}))?"
    rf"(?P<path>(/{_CHARACTER}*)?(\?{_CHARACTER}*)?)"
)
# A name that ends like this is an IPv4 address to resolvers, also 127.1, 0x7f.1 and 2130706433.
_NUMBER = re.compile("[0-9]+|0[Xx][0-9A-Fa-f]*")

# Python releases differ in the networks that `IPv6Address.is_global` excludes. IPv6 addresses are public if they are in
# the first network and in none of the others: assignments for protocols (Teredo), examples, 6to4, examples.
_UNICAST = IPv6Network("2000::/3")
_SPECIAL = [IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
# The IPv4 addresses behind a NAT64 gateway.
_NAT64 = IPv6Network("64:ff9b::/96")


class Target(NamedTuple):
    """The parts of a webhook's URL, and the addresses of its host, IPv4 first. *path* includes the query."""

    host: str
    port: int
    path: str
    addresses: list[str]


def parse(url: str) -> Target:
    """Returns the target of *url*, without addresses. Raises `errors.InvalidRequest` if the text is malformed."""
    if not url.lower().startswith("https://"):
        raise errors.InvalidRequest("url: must begin with https://")
    if "@" in re.split(r"[/?#\\]", url[len("https://") :], maxsplit=1)[0]:
        raise errors.InvalidRequest("url: must not contain credentials")
    if "#" in url:
        raise errors.InvalidRequest("url: must not contain a fragment (#)")
    match = _URL.fullmatch(url)
    if match is None or not _is_host(match["host"]):
        raise errors.InvalidRequest(
            "url: must have a host name (xn-- if not ASCII) or an IP address; percent-encode what URLs do not allow"
        )
    port = int(match["port"] or 443)
    if port != 443 and os.environ["WEBHOOK_TARGETS"] == "public":
        raise errors.InvalidRequest("url: must have port 443, which is the default")
    if not 1 <= port <= 65535:
        raise errors.InvalidRequest("url: must have a port from 1 to 65535")
    path = match["path"] if match["path"].startswith("/") else f"/{match['path']}"
    return Target(match["host"].strip("[]").lower(), port, path, [])


def resolve(url: str) -> Target:
    """Returns the target of *url*. Connect to one of its addresses: the resolver may respond differently next time.

    Raises `errors.InvalidRequest` if the text is malformed, if the host does not resolve, or if any address is private.
    """
    target = parse(url)
    addresses = _look_up(target.host, target.port)
    if os.environ["WEBHOOK_TARGETS"] != "any" and not all(map(is_public, addresses)):
        raise errors.InvalidRequest("url: must lead to public addresses only; private ones are never called")
    ipv4_first = sorted(addresses, key=lambda address: address.version)
    return target._replace(addresses=[str(address) for address in ipv4_first])


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Returns whether *address* is on the Internet. An IPv4 address in an IPv6 one is judged alone."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    if address in _NAT64 or address.ipv4_mapped is not None:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _UNICAST and not any(address in network for network in _SPECIAL)


def _is_host(host: str) -> bool:
    if not host.startswith("[") and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return len(host) <= 253
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _look_up(host: str, port: int) -> list[IPv4Address | IPv6Address]:
    resolver = ThreadPoolExecutor(1)
    try:
        found = resolver.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM).result(_RESOLVER_SECONDS)
    except OSError:
        raise errors.InvalidRequest("url: must have a host whose name resolves") from None
    finally:
        resolver.shutdown(wait=False)
    return [ipaddress.ip_address(address[0]) for *_, address in found]
