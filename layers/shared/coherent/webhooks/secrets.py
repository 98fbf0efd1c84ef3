"""The secrets of webhooks. They are derived from one master key per stack, so tables and backups contain none."""

import base64
import hashlib
import hmac
import os
import time
from typing import TYPE_CHECKING, Any

from coherent import errors
from coherent.storage import client, rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from coherent.storage.rows import Attributes

_MASTER_BYTES = 32


class MasterKeyReplaced(Exception):
    """The stack has another master key than the one that the webhook's secret was derived from.

    A rotation gives the webhook a secret of the present key.
    """


class Secrets:
    """The secrets of one stack's webhooks.

    The master key is in a SecureString of SSM, which is encrypted with the key that AWS manages. It is read when it is
    first needed. Every method raises `errors.Unavailable` if SSM throttles or does not respond.
    """

    def __init__(self) -> None:
        self._ssm: Any = client.connect("ssm")
        self._master = b""

    def prepare(self) -> str:
        """Returns the id of the present master key. Creates the key with the first webhook of the stack."""
        with translate_errors():
            try:
                self._master = self._read()
            except self._ssm.exceptions.ParameterNotFound:
                self._master = self._create()
        return _id(self._master)

    def newest(self, row: "Attributes") -> str:
        """Returns the secret of the webhook *row*. Raises `MasterKeyReplaced`."""
        return self._derive(row, int(row["secret_number"]["N"]))

    def valid(self, row: "Attributes") -> list[str]:
        """Returns the newest secret, and the old one while that is valid too. Raises `MasterKeyReplaced`."""
        secrets = [self.newest(row)]
        if (rows.number(row, "previous_until") or 0) > time.time():
            secrets.append(self._derive(row, int(row["previous_number"]["N"])))
        return secrets

    def _derive(self, row: "Attributes", number: int) -> str:
        if _id(self._master) != row["key_id"]["S"]:
            with translate_errors():
                self._master = self._read()
            if _id(self._master) != row["key_id"]["S"]:
                raise MasterKeyReplaced
        digest = hmac.digest(self._master, f"{row['id']['S']}#{number}".encode(), hashlib.sha256)
        return f"whsec_{base64.b64encode(digest).decode()}"

    def _read(self) -> bytes:
        response = self._ssm.get_parameter(Name=_parameter(), WithDecryption=True)
        return base64.b64decode(response["Parameter"]["Value"])

    def _create(self) -> bytes:
        master = os.urandom(_MASTER_BYTES)
        value = base64.b64encode(master).decode()
        try:
            # Without Overwrite: of simultaneous requests, one creates the key.
            self._ssm.put_parameter(Name=_parameter(), Type="SecureString", Value=value)
        except self._ssm.exceptions.ParameterAlreadyExists:
            try:
                return self._read()
            except self._ssm.exceptions.ParameterNotFound:
                raise errors.Unavailable from None
        return master


def _parameter() -> str:
    # SSM rejects names that begin with "aws" or "ssm", as those of stacks may.
    return f"/coherent-conversations/{os.environ['POWERTOOLS_SERVICE_NAME']}/webhook-master-key"


def _id(master: bytes) -> str:
    return hashlib.sha256(master).hexdigest()[:16]
