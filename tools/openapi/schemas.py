"""JSON schemas of request bodies and resources, made from the models."""

import copy
from collections.abc import Mapping
from typing import Any, get_type_hints

from coherent import ids
from coherent.conversations.models import CreateConversation
from coherent.parameters import Changes, Parameters
from pydantic import BaseModel, ConfigDict, Field, create_model

ID = {"type": "string", "pattern": ids.PATTERN}
ERROR = {
    "type": "object",
    "properties": {
        "type": {"enum": ["invalid_request", "api_error"]},
        "message": {"type": "string", "examples": ["limit: must be an integer between 1 and 100"]},
        "documentation_url": {
            "type": "string",
            "format": "uri",
            "examples": ["https://protocol.chat/docs/errors/invalid_request"],
        },
    },
    "required": ["type", "message", "documentation_url"],
    "additionalProperties": False,
}


class Contact(BaseModel):
    """The sender of a message that is not the user's own."""

    model_config = ConfigDict(extra="forbid")

    id: str


def json_body(model: type[Parameters]) -> dict[str, Any]:
    """Returns the schema of a JSON body."""
    schema: dict[str, Any] = _inline(model.model_json_schema())
    for attribute in schema["properties"].values():
        # The API never applies a default: absent attributes stay unchanged.
        attribute.pop("default", None)
        attribute.pop("title", None)
    del schema["title"]
    if model is CreateConversation:
        value = {"type": "string", "minLength": 1}
        schema["anyOf"] = [{"required": [name], "properties": {name: value}} for name in schema["properties"]]
    elif issubclass(model, Changes):
        schema["minProperties"] = 1
    return schema


def form_body(json_schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a form: null is an empty value, arrays of strings are `name[]=1&name[]=2`.

    Omits arrays of objects (`reactions[heart][]=harry`), which JSON Schema cannot describe as form fields.
    """
    schema = copy.deepcopy(json_schema)
    properties, schema["properties"] = schema["properties"], {}
    for name, attribute in properties.items():
        if "anyOf" in attribute:
            empty = {"type": "string", "maxLength": 0}
            attribute["anyOf"] = [empty if option == {"type": "null"} else option for option in attribute["anyOf"]]
        if attribute.get("type") != "array":
            schema["properties"][name] = attribute
        elif attribute["items"]["type"] == "string":
            # A form cannot express an empty array.
            schema["properties"][f"{name}[]"] = attribute | {"minItems": 1}
    return schema


def resource(fields: type, example: dict[str, Any], **types: Any) -> dict[str, Any]:  # noqa: ANN401 - types
    """Returns the schema of a resource from a `TypedDict`; *types* replaces the types of nested attributes."""
    attributes: dict[str, Any] = {name: (types.get(name, hint), ...) for name, hint in get_type_hints(fields).items()}
    attributes["id"] = (str, Field(pattern=ids.PATTERN))
    model = create_model(fields.__name__, __config__=ConfigDict(extra="forbid"), **attributes)
    schema: dict[str, Any] = model.model_json_schema()
    for attribute in schema["properties"].values():
        attribute.pop("title", None)
    schema = _inline(schema)
    return schema | {"description": "Times are Unix seconds.", "examples": [example]}


def page(name: str) -> dict[str, Any]:
    """Returns the schema of a page of resources."""
    return {
        "type": "object",
        "properties": {
            "has_more": {"type": "boolean", "description": "Whether another page follows in this direction"},
            "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}},
        },
        "required": ["has_more", "data"],
        "additionalProperties": False,
    }


def _inline(schema: Any, definitions: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - any part of a schema
    """Returns *schema* with references to its `$defs` replaced by the definitions."""
    if isinstance(schema, list):
        return [_inline(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    if "$ref" in schema:
        return _inline(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inline(part, definitions) for name, part in schema.items() if name != "$defs"}
