"""docs/api.md: the functions that verify signatures accept what the service sends, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import time
from typing import Any

import pytest
from coherent.webhooks import signatures

from tests.template import ROOT

SECRETS = [f"whsec_{letter * 43}=" for letter in ("A", "Q")]
BODY = '{"id": "5b0c", "payload": {"object": {"message": "Ünïcödé 🍕"}}}'.encode()
FUNCTIONS = ("has_webhook_signature", "has_protocol_signature")


def code(language: str) -> str:
    """Returns the block of docs/api.md in *language*."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "docs/api.md").read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def in_python(calls: list[tuple[str, dict[str, str], bytes]]) -> list[list[bool]]:
    """Returns what the functions of the docs return for each secret, headers and body."""
    module: dict[str, Any] = {}
    exec(code("python"), module)  # noqa: S102 - our own docs
    return [[module[name](*call) for name in FUNCTIONS] for call in calls]


def in_javascript(calls: list[tuple[str, dict[str, str], bytes]]) -> list[list[bool]]:
    """Returns the same."""
    node = shutil.which("node")
    if node is None and "CI" not in os.environ:
        pytest.skip("Node.js is not installed (on Debian: apt-get install nodejs)")
    assert node is not None
    given = json.dumps([(secret, headers, body.decode()) for secret, headers, body in calls])
    script = f"""{code("javascript")}
    const results = {given}.map(([secret, headers, body]) =>
      [hasWebhookSignature, hasProtocolSignature].map((check) => check(secret, headers, Buffer.from(body))));
    console.log(JSON.stringify(results));
    """
    done = subprocess.run([node, "--input-type=module", "-"], input=script, text=True, check=True, capture_output=True)
    results: list[list[bool]] = json.loads(done.stdout)
    return results


@pytest.mark.parametrize("language", [in_python, in_javascript])
def test_functions_of_the_docs_verify_signatures(language: Any) -> None:
    now = time.time()
    new, old = SECRETS
    sent, rotated = (signatures.headers("5b0c", BODY, secrets, now) for secrets in ([new], [new, old]))
    cases = [
        ((new, sent, BODY), [True, True]),
        ((old, sent, BODY), [False, False]),
        # During a rotation.
        ((new, rotated, BODY), [True, False]),
        ((old, rotated, BODY), [True, True]),
        ((new, sent, BODY + b" "), [False, False]),
        ((new, sent | {"webhook-id": "5b0d"}, BODY), [False, True]),
        ((new, sent | {"webhook-timestamp": str(int(now) + 1)}, BODY), [False, True]),
        ((new, signatures.headers("5b0c", BODY, [new], now - 400), BODY), [False, True]),
        ((new, sent | {"webhook-signature": "v1,", "x-protocol-signature": ""}, BODY), [False, False]),
    ]
    assert language([call for call, _ in cases]) == [expected for _, expected in cases]
