"""The row of a new conversation."""

import time
from typing import TYPE_CHECKING

from coherent import ids, positions
from coherent.storage import rows

if TYPE_CHECKING:
    from coherent.storage.rows import Attributes


def new_row(user_id: str, contact_id: str | None, group_id: str | None) -> "Attributes":
    """Returns the row of a conversation that is created now."""
    now_ns = time.time_ns()
    id, created_at = ids.new(now_ns), now_ns // 1_000_000_000
    names = {"contact_id": contact_id, "group_id": group_id}
    if group_id is not None:
        names["owner_group"] = rows.owner_group(user_id, group_id)
    return rows.values(
        {
            "user_id": user_id,
            "id": id,
            **{name: given for name, given in names.items() if given is not None},
            "is_archived": False,
            "is_pinned": False,
            "is_muted": False,
            "is_unread": False,
            "unread_count": 0,
            "unread_revision": 1,
            "activity": positions.new(created_at, id),
            "created_at": created_at,
            "version": 1,
        }
    )
