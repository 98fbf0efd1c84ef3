"""coherent/webhooks/addresses.py: which URLs a webhook may have, and which addresses the service connects to."""

import ipaddress
import socket
import threading
from typing import Any

import pytest
from coherent import errors
from coherent.webhooks import addresses

NO_HTTPS = "url: must begin with https://"
CREDENTIALS = "url: must not contain credentials"
FRAGMENT = "url: must not contain a fragment (#)"
MALFORMED = "url: must have a host name (xn-- if not ASCII) or an IP address; percent-encode what URLs do not allow"
PORT_443 = "url: must have port 443, which is the default"
PORT = "url: must have a port from 1 to 65535"
PRIVATE = "url: must lead to public addresses only; private ones are never called"
UNRESOLVED = "url: must have a host whose name resolves"


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of the names that the resolver knows; it also knows IP addresses."""
    known = {"example.com": ["93.184.215.14"]}
    resolve = socket.getaddrinfo

    def look_up(host: str, port: int, **more: Any) -> list[Any]:
        # The real one, which must not send requests.
        return [
            ip for name in known.get(host, [host]) for ip in resolve(name, port, flags=socket.AI_NUMERICHOST, **more)
        ]

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    monkeypatch.setenv("WEBHOOK_TARGETS", "public")
    return known


def fault(url: str) -> str | None:
    try:
        addresses.resolve(url)
    except errors.InvalidRequest as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", ("example.com", 443, "/")),
        ("https://example.com:443/", ("example.com", 443, "/")),
        ("HTTPS://EXAMPLE.com/Hook", ("example.com", 443, "/Hook")),
        ("https://example.com?a=b@c", ("example.com", 443, "/?a=b@c")),
        ("https://example.com/%C3%A9/a@b;c?d[]=1&e=%00//../", ("example.com", 443, "/%C3%A9/a@b;c?d[]=1&e=%00//../")),
    ],
)
def test_public_url_is_accepted(url: str, target: tuple[str, int, str]) -> None:
    assert addresses.resolve(url) == (*target, ["93.184.215.14"])


@pytest.mark.parametrize("host", ["1.1.1.1", "[2606:4700:4700::1111]", "[64:ff9b::1.1.1.1]"])
def test_public_ip_address_is_accepted(host: str) -> None:
    found = addresses.resolve(f"https://{host}/")
    assert found.addresses == [str(ipaddress.ip_address(host.strip("[]")))]
    assert found.host == host.strip("[]")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", NO_HTTPS),
        ("http://example.com/", NO_HTTPS),
        ("http://https://example.com/", NO_HTTPS),
        ("ftp://example.com/", NO_HTTPS),
        ("//example.com/", NO_HTTPS),
        ("https:example.com", NO_HTTPS),
        ("https:/example.com", NO_HTTPS),
        ("https:\\\\example.com", NO_HTTPS),
        (" https://example.com/", NO_HTTPS),
        ("https://a@example.com/", CREDENTIALS),
        ("https://a:b@example.com/", CREDENTIALS),
        ("https://example.com@10.0.0.1/", CREDENTIALS),
        ("https://@example.com/", CREDENTIALS),
        ("https://example.com/#top", FRAGMENT),
        ("https://example.com#@10.0.0.1/", FRAGMENT),
        ("https://", MALFORMED),
        ("https:///example.com", MALFORMED),
        ("https://example.com\\@10.0.0.1/", MALFORMED),
        ("https://example.com\\.internal/", MALFORMED),
        ("https://example.com/a b", MALFORMED),
        ("https://example.com/\n", MALFORMED),
        ("https://exam\tple.com/", MALFORMED),
        ("https://example.com/\x00", MALFORMED),
        ("https://example.com%00/", MALFORMED),
        ("https://127.0.0.1%00.example.com/", MALFORMED),
        ("https://%31%30.0.0.1/", MALFORMED),
        ("https://bücher.example/", MALFORMED),
        ("https://①②⑦.0.0.1/", MALFORMED),
        ("https://example。com/", MALFORMED),
        ("https://example.com./", MALFORMED),
        ("https://.example.com/", MALFORMED),
        ("https://exa_mple.com/", MALFORMED),
        ("https://-example.com/", MALFORMED),
        ("https://" + ".".join(["a" * 63] * 4), MALFORMED),
        ("https://" + "a" * 64, MALFORMED),
        ("https://example.com:/", MALFORMED),
        ("https://example.com:443:443/", MALFORMED),
        ("https://example.com:+443/", MALFORMED),
        ("https://example.com:٤٤٣/", MALFORMED),
        # Other spellings of 127.0.0.1 and of public addresses.
        ("https://0x7f.1/", MALFORMED),
        ("https://0x7F000001/", MALFORMED),
        ("https://2130706433/", MALFORMED),
        ("https://127.1/", MALFORMED),
        ("https://0177.0.0.1/", MALFORMED),
        ("https://127.0.0.01/", MALFORMED),
        ("https://0/", MALFORMED),
        ("https://256.1.1.1/", MALFORMED),
        ("https://a.0x/", MALFORMED),
        ("https://[1.1.1.1]:/", MALFORMED),
        ("https://[::1/", MALFORMED),
        ("https://[fe80::1%25eth0]/", MALFORMED),
        ("https://[::1::]/", MALFORMED),
        ("https://example.com:444/", PORT_443),
        ("https://example.com:80/", PORT_443),
        ("https://example.com:0/", PORT_443),
        ("https://nowhere.invalid/", UNRESOLVED),
        ("https://xn--bcher-kva.example/", UNRESOLVED),
    ],
)
def test_malformed_or_unresolvable_url_is_rejected(url: str, expected: str) -> None:
    assert fault(url) == expected


@pytest.mark.parametrize(
    "address",
    """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 169.254.170.2
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.7
    224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::101:101 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:127.0.0.1 64:ff9b::10.0.0.1
    64:ff9b::169.254.169.254 64:ff9b:1::1 100::1 2001::1 2001:0:1::f5ff:fffe 2001:2::1 2001:10::1 2001:20::1
    2001:db8::1 2002:a00:1::1 2002:7f00:1::1 3fff::1 4000::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1
    """.split(),
)
def test_private_address_is_rejected_whether_given_or_resolved(address: str, names: dict[str, list[str]]) -> None:
    assert fault(f"https://{f'[{address}]' if ':' in address else address}/") == PRIVATE
    names["example.com"].append(address)
    assert fault("https://example.com/") == PRIVATE


@pytest.mark.parametrize("url", ["https://example.com:8443/", "https://example.com:1/", "https://example.com:65535/"])
def test_other_ports_need_the_parameter(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fault(url) == PORT_443
    monkeypatch.setenv("WEBHOOK_TARGETS", "public-any-port")
    assert fault(url) is None
    assert fault("https://10.0.0.1:8443/") == PRIVATE
    assert fault("https://example.com:0/") == fault("https://example.com:65536/") == PORT


def test_private_addresses_need_the_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_TARGETS", "any")
    assert addresses.resolve("https://127.0.0.1:8443/a") == ("127.0.0.1", 8443, "/a", ["127.0.0.1"])
    assert fault("http://127.0.0.1:8443/a") == NO_HTTPS
    assert fault("https://127.1:8443/a") == MALFORMED


def test_ipv4_addresses_come_first(names: dict[str, list[str]]) -> None:
    names["example.com"] = ["2606:4700:4700::1111", "1.1.1.1"]
    assert addresses.resolve("https://example.com/").addresses == ["1.1.1.1", "2606:4700:4700::1111"]


def test_resolver_that_does_not_respond_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: released.wait() and [])
    monkeypatch.setattr("coherent.webhooks.addresses._RESOLVER_SECONDS", 0.01)
    assert fault("https://example.com/") == UNRESOLVED
    released.set()
