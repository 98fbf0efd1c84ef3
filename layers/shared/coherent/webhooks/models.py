"""Request models of the webhook calls."""

import time
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, Field

from coherent import errors
from coherent.changes.change import KEPT_SECONDS, TYPES
from coherent.parameters import MAX_SECONDS, Boolean, Changes, Parameters, Seconds
from coherent.webhooks import addresses

_EVENTS_RULE = f"an array of at least one of {', '.join(TYPES)}; in a form, events[]=..."
_TIME_RULE = f"a whole number of Unix seconds, from 0 to {MAX_SECONDS}"
_MAX_PERIOD_SECONDS = 24 * 60 * 60


def _require_type(event: str) -> str:
    if event not in TYPES:
        raise ValueError
    return event


def _unique(events: list[str]) -> list[str]:
    return list(dict.fromkeys(events))


def _require_true(value: bool) -> bool:
    if not value:
        raise ValueError
    return value


Url = Annotated[str, Field(max_length=addresses.MAX_LENGTH, json_schema_extra={"format": "uri"})]
Event = Annotated[str, AfterValidator(_require_type), Field(json_schema_extra={"enum": list(TYPES)})]
Events = Annotated[list[Event], Field(min_length=1, max_length=100), AfterValidator(_unique)]


class CreateWebhook(Parameters):
    """A new webhook."""

    url: Url = Field(description=addresses.RULE)
    events: Events = Field(description=_EVENTS_RULE)

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003
        """Returns the faults in the text of the URL."""
        return _url_faults(given)


class UpdateWebhook(Changes):
    """A partial update of a webhook."""

    url: Url = Field("", description=addresses.RULE)
    events: Events = Field([], description=_EVENTS_RULE)
    is_enabled: Boolean = Field(False, description="true or false")
    rotate_secret: Annotated[Boolean, AfterValidator(_require_true)] = Field(False, description="true, or absent")

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:
        """Requires an attribute, and returns the faults in the text of the URL."""
        return super().conflicts(given, text=text) + _url_faults(given)


class CreateRedelivery(Parameters):
    """The period whose events a webhook gets again."""

    from_: Seconds = Field(alias="from", description=_TIME_RULE)
    to: Seconds = Field(description=_TIME_RULE)

    @classmethod
    def parse(cls, given: Mapping[str, object], *, text: bool) -> Self:
        """Parses as all parameters. Requires a period of at most a day within the last seven days."""
        period, now = super().parse(given, text=text), int(time.time())
        oldest = now - KEPT_SECONDS
        rules = {
            "from: must be less than to": period.from_ < period.to,
            "from: must be at most seven days ago, since older changes are not kept": period.from_ >= oldest,
            "to: must be at most a day after from": period.to - period.from_ <= _MAX_PERIOD_SECONDS,
            "to: must not be in the future": period.to <= now,
        }
        if faults := [rule for rule, is_kept in rules.items() if not is_kept]:
            raise errors.InvalidRequest(*faults)
        return period


def _url_faults(given: Mapping[str, object]) -> list[str]:
    url = given.get("url")
    # Other types and lengths are faults of the field.
    if not isinstance(url, str) or len(url) > addresses.MAX_LENGTH:
        return []
    try:
        addresses.parse(url)
    except errors.InvalidRequest as error:
        return list(error.faults)
    return []
