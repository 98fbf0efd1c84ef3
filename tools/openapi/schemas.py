"""The schemas of requests and responses, made from the models."""

from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from coherent import ids, positions
from coherent.changes.change import TYPES
from coherent.changes.feed import Entry as Change
from coherent.conversations.repository import Conversation
from coherent.inbox.repository import Entry, LastMessage, UnreadCount
from coherent.messages.models import Reaction
from coherent.messages.row import Contact, Message
from coherent.parameters import MAX_SECONDS, Parameters
from coherent.webhooks.repository import Redelivery, Webhook

from tools.openapi import TEXTS, examples

Schema = dict[str, Any]

ID = {"type": "string", "pattern": ids.PATTERN}
# Typed clients read integers without a format as 32-bit numbers, which end in 2038.
_SECONDS = {"type": "integer", "format": "int64", "minimum": 0, "maximum": MAX_SECONDS}
_NUMBER = {"type": "integer", "format": "int64", "minimum": 1}
_TYPES: dict[Any, Schema] = {str: {"type": "string"}, bool: {"type": "boolean"}, int: _SECONDS}
_REFERENCE = "#/components/schemas/{model}"
_RESPONSES = {
    "Conversation": Conversation,
    "Message": Message,
    "Contact": Contact,
    "InboxEntry": Entry,
    "LastMessage": LastMessage,
    "UnreadCount": UnreadCount,
    "Change": Change,
    "Webhook": Webhook,
    "Redelivery": Redelivery,
}
_PAGES = {
    "Conversations": "Conversation",
    "Messages": "Message",
    "Inbox": "InboxEntry",
    "Changes": "Change",
    "Webhooks": "Webhook",
}
_IDS = {"id", "conversation_id", "pinned_message_id", "read_up_to", "webhook_id"}
# Attributes that only some responses have.
_OPTIONAL = {"secret"}
# By attribute: the greatest count, with 100 conversations of at most 1,000 messages in the badge.
_COUNTS = {"unread_count": 1000, "conversations": 100, "messages": 100_000}
_ERROR: Schema = {
    "type": {"type": "string", "enum": ["invalid_request", "api_error"]},
    "message": {"type": "string"},
    "documentation_url": {"type": "string", "format": "uri"},
}


def reference(name: str) -> Schema:
    """Returns a reference to the schema *name*."""
    return {"$ref": _REFERENCE.format(model=name)}


def responses() -> Schema:
    """Returns the schemas of responses by name. They allow further attributes, which later versions may add."""
    schemas: dict[str, Schema] = {}
    for name, fields in _RESPONSES.items():
        schemas[name] = {attribute: _type(hint) for attribute, hint in get_type_hints(fields).items()}
        # The contact's id is the app's own.
        for attribute in _IDS & schemas[name].keys() if fields is not Contact else ():
            schemas[name][attribute] = ID | schemas[name][attribute]
        for attribute in _COUNTS.keys() & schemas[name].keys():
            schemas[name][attribute] = {"type": "integer", "minimum": 0, "maximum": _COUNTS[attribute]}
    schemas["InboxEntry"]["position"] = {"type": "string", "pattern": positions.PATTERN}
    for name, element in _PAGES.items():
        schemas[name] = {"has_more": _TYPES[bool], "data": {"type": "array", "items": reference(element)}}
    schemas["Change"] |= {"number": _NUMBER, "version": _NUMBER, "type": {"type": "string", "enum": [*TYPES]}}
    schemas["Changes"]["head"] = _NUMBER | {"minimum": 0}
    schemas |= {"Reaction": parameters(Reaction), "ApiErrorResponse": _ERROR}
    return {
        name: _object(name, properties, [attribute for attribute in properties if attribute not in _OPTIONAL])
        for name, properties in schemas.items()
    }


def json_body(model: type[Parameters]) -> Schema:
    """Returns the schema of a JSON body."""
    required = [field.alias or name for name, field in model.model_fields.items() if field.is_required()]
    schema = _object(model.__name__, parameters(model), required)
    fewest = min(len(required) + 1, len(model.model_fields))
    return schema | {"minProperties": fewest, "additionalProperties": False}


def form_body(model: type[Parameters]) -> Schema:
    """Returns the schema of a form.

    Leaves out the empty value for null, which typed clients would accept in JSON too, and arrays of objects
    (`reactions[heart][]=harry`), which JSON Schema cannot describe as form fields.
    """
    schema = json_body(model)
    properties, schema["properties"] = schema["properties"], {}
    for name, attribute in properties.items():
        if attribute["type"] != "array":
            schema["properties"][name] = without_null(attribute)
            if "null" in attribute["type"]:
                schema["properties"][name]["description"] += " An empty value is null."
        elif "type" in attribute["items"]:
            # A form cannot express an empty array.
            schema["properties"][f"{name}[]"] = attribute | {"minItems": 1}
        else:
            schema["description"] += f" A form may also have {name}, such as `{name}[heart][]=harry`."
    if "required" in schema:
        schema["required"] = [name if name in schema["properties"] else f"{name}[]" for name in schema["required"]]
    return schema


def parameters(model: type[Parameters]) -> dict[str, Schema]:
    """Returns the schemas of the attributes of a body, or of the parameters of a query."""
    schemas = {}
    for name, given in model.model_json_schema(ref_template=_REFERENCE)["properties"].items():
        schema = _nullable(given["anyOf"][0]) if "anyOf" in given else given
        # The API applies the default of `limit` only: absent attributes stay as they are.
        dropped = ("title", "description", "default")[: 2 if name == "limit" else 3]
        schemas[name] = schema = {key: value for key, value in schema.items() if key not in dropped}
        # Swagger UI offers the values of an `enum`, and not of a `const`, to choose from.
        if "const" in schema:
            schema["enum"] = [schema.pop("const")]
        rule, _, _ = given.get("description", "").partition("; in a form")
        schema["description"] = TEXTS["attributes"][model.__name__][name]
        # Other rules are obvious from the type.
        if rule and ("items" in schema or schema.get("pattern", ids.PATTERN) != ids.PATTERN):
            schema["description"] += f" Must be {rule}."
    return schemas


def without_null(schema: Schema) -> Schema:
    """Returns *schema* for a query or form, where null is not a type of its own."""
    return schema if isinstance(schema["type"], str) else schema | {"type": schema["type"][0]}


def example(schema_name: str, name: str) -> object:
    """Returns the example of an attribute."""
    specific = f"{schema_name}.{name}"
    return examples.ATTRIBUTES[specific if specific in examples.ATTRIBUTES else name]


def _object(name: str, properties: dict[str, Schema], required: list[str]) -> Schema:
    described = {}
    for attribute, schema in properties.items():
        texts = {"description": TEXTS["attributes"][name][attribute], "examples": [example(name, attribute)]}
        described[attribute] = texts | schema
        if schema.get("maximum") == MAX_SECONDS:
            described[attribute]["description"] += " Unix seconds."
    whole = {"type": "object", "description": TEXTS["schemas"][name], "properties": described}
    return whole | ({"required": required} if required else {})


def _type(hint: Any) -> Schema:  # noqa: ANN401 - any type of an attribute
    if isinstance(hint, UnionType):
        *hints, _ = get_args(hint)
        return _nullable(_type(hints[0]) if len(hints) == 1 else {"anyOf": [_type(each) for each in hints]})
    if get_origin(hint) is list:
        return {"type": "array", "items": _type(get_args(hint)[0])}
    return reference(hint.__name__) if is_typeddict(hint) else _TYPES[hint]


def _nullable(schema: Schema) -> Schema:
    if "type" in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]}
