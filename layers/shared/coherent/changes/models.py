"""Request models of the feed."""

from typing import Annotated

from pydantic import Field

from coherent.parameters import IntegerFromText, Parameters

_LIMIT_RULE = "an integer between 1 and 100"


class ListChanges(Parameters):
    """The part of the feed to return: the changes after a number, or only the head."""

    starting_after: Annotated[int | None, Field(ge=0, json_schema_extra={"format": "int64"}), IntegerFromText] = Field(
        None, description="the number of a change, or 0 for the beginning"
    )
    limit: Annotated[int, Field(ge=1, le=100), IntegerFromText] = Field(10, description=_LIMIT_RULE)
