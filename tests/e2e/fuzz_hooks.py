"""Hooks for Schemathesis: rules of the API that `openapi.json` cannot express."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """Makes bodies follow two rules: whole floats are not integers, and reactions have no further attributes."""
    if not isinstance(body, dict):
        return body
    return {name: _reactions(value) if name == "reactions" else _integer(value) for name, value in body.items()}


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _reactions(reactions: Any) -> Any:
    """Returns *reactions* without attributes that responses may get in later versions."""
    if not isinstance(reactions, list):
        return reactions
    return [
        {name: value for name, value in reaction.items() if name in ("reaction", "contact_id")}
        if isinstance(reaction, dict)
        else reaction
        for reaction in reactions
    ]


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Skips requests about which the API and the schema disagree.

    These are `If-Match: 0`, which the coverage phase treats as valid although the pattern excludes it; empty values in
    forms, which are null; conversations whose ids are both null; and messages without a text or attachments.
    """
    headers = dict(case.headers or {})
    if "0" in (headers.get("If-Match"), headers.get("If-None-Match")):
        return False
    if not isinstance(case.body, dict):
        return True
    if case.media_type == "application/x-www-form-urlencoded" and "" in case.body.values():
        return False
    ids = {name: value for name, value in case.body.items() if name != "distinct"}
    is_empty = {"contact_id": None, "group_id": None}.items() >= ids.items() and case.method == "POST"
    return not is_empty and case.body.get("message") != ""
