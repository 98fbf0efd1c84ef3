"""The progress of inbox/preparation.py, in one row beside the conversations."""

from typing import TYPE_CHECKING

from coherent import errors
from coherent.storage import rows
from coherent.storage.dynamodb import translate_errors

if TYPE_CHECKING:
    from coherent.storage.dynamodb import Tables
    from coherent.storage.rows import Attributes

KEY = rows.values({"user_id": "inbox#preparation", "id": "progress"})


class Progress:
    """The progress of one stack."""

    def __init__(self, tables: "Tables") -> None:
        self._tables = tables
        self._is_finished = False

    def require_finished(self) -> None:
        """Raises `errors.NotPrepared` unless all rows are prepared. Reads the table only until they are."""
        if not self._is_finished and "finished_at" not in self.read():
            raise errors.NotPrepared
        self._is_finished = True

    def read(self) -> "Attributes":
        """Returns the row, or nothing before the first sweep. Raises `errors.Unavailable`."""
        with translate_errors():
            response = self._tables.client.get_item(TableName=self._tables.conversations, Key=KEY, ConsistentRead=True)
        return response.get("Item", {})
