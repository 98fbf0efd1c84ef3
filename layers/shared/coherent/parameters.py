"""The base of all request models: strict types, no unknown parameters, and messages that say what would be right."""

import re
from collections.abc import Mapping
from typing import Annotated, Self, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from coherent import errors, ids

_BOOLEANS = {"true": True, "false": False}
_INTEGER = re.compile("0|[1-9][0-9]{0,18}")
MAX_SECONDS = 253_402_300_799

NAME_RULE = "1 to 128 characters without white space or control characters"
SECONDS_RULE = f"a whole number of Unix seconds, from 0 to {MAX_SECONDS} (the end of the year 9999), or null"


class Context(TypedDict):
    """The validation context: whether all values are text, as in a query string or form."""

    text: bool


def _parse_boolean(value: object, info: ValidationInfo[Context]) -> object:
    return _BOOLEANS.get(value, value) if info.context["text"] and isinstance(value, str) else value


def _parse_integer(value: object, info: ValidationInfo[Context]) -> object:
    if info.context["text"] and isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    return value


def _parse_null(value: object, info: ValidationInfo[Context]) -> object:
    return None if info.context["text"] and value == "" else value


Boolean = Annotated[bool, BeforeValidator(_parse_boolean)]
IntegerFromText = BeforeValidator(_parse_integer)
EmptyIsNull = BeforeValidator(_parse_null)
Id = Annotated[str, Field(pattern=ids.PATTERN)]
Name = Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f-\x9f]{1,128}$")]
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS, json_schema_extra={"format": "int64"}), IntegerFromText]


class Parameters(BaseModel):
    """The parameters of one call. A field's description completes the sentence "must be …"."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def parse(cls, given: Mapping[str, object], *, text: bool) -> Self:
        """Validates *given*. With *text* all values are strings, and `true`, `12` and the empty string are converted.

        Raises `errors.InvalidRequest` with every fault.
        """
        conflicts = cls.conflicts(given, text=text)
        try:
            parameters = cls.model_validate(given, context=Context(text=text))
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            # An array with several faults is one parameter.
            faults = dict.fromkeys(map(cls._fault, found))
            raise errors.InvalidRequest(*faults, *conflicts) from None
        if conflicts:
            raise errors.InvalidRequest(*conflicts)
        return parameters

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003 - for subclasses
        """Returns errors about which parameters are present, not about their values."""
        return []

    @classmethod
    def _fault(cls, error: ErrorDetails) -> str:
        if not error["loc"]:
            return "parameter names: must be valid Unicode"
        name = str(error["loc"][0])
        # A parameter whose name is a keyword of Python has an alias.
        fields = {field.alias or known: field for known, field in cls.model_fields.items()}
        if name not in fields:
            shown = name[: errors.MAX_ECHOED_NAME_LENGTH]
            return f"{shown}: unknown or read-only; this call takes {', '.join(fields)}"
        return f"{name}: must be {fields[name].description}"


class PageParameters(Parameters):
    """The size and position of a page."""

    limit: Annotated[int, Field(ge=1, le=100), IntegerFromText] = Field(10, description="an integer between 1 and 100")
    starting_after: Id | None = Field(None, description=ids.RULE)
    ending_before: Id | None = Field(None, description=ids.RULE)

    @property
    def is_backwards(self) -> bool:
        """Whether the client pages backwards."""
        return self.ending_before is not None

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003
        """Allows only one cursor."""
        both = {"starting_after", "ending_before"} <= given.keys()
        return ["starting_after, ending_before: only one of them may be given"] if both else []


class Changes(Parameters):
    """A partial update: `model_fields_set` names the attributes to change; the others stay as they are.

    Attribute names go into DynamoDB expressions as they are, so none may be a reserved word such as `name` or `status`.
    """

    @classmethod
    def conflicts(cls, given: Mapping[str, object], *, text: bool) -> list[str]:  # noqa: ARG003
        """Requires at least one attribute."""
        return [] if given else [f"{', '.join(cls.model_fields)}: at least one of them must be given"]
