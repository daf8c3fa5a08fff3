"""JSON Schemas of the contract's messages: as they are shown, as they are made, and as they are changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.contract import BEHAVIOR, RESOURCE, RULES, Contract
from gateway.transcode import map_entry

Schema = dict[str, Any]
OUTPUT_ONLY, IMMUTABLE, REQUIRED = (
    field_behavior_pb2.OUTPUT_ONLY,
    field_behavior_pb2.IMMUTABLE,
    field_behavior_pb2.REQUIRED,
)
IDENTIFIER = field_behavior_pb2.IDENTIFIER
# What a message is wanted for: the suffix of its schema's name.
SHOWN, MADE, CHANGED = "", "Input", "Patch"

KNOWN: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?\d+(\.\d{1,9})?s$", "examples": ["3.5s"]},
    "google.protobuf.FieldMask": {"type": "string", "examples": ["title,unitPrice"]},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string", "description": "The message it is."}},
        "required": ["@type"],
    },
}
_INT64 = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_TYPES: dict[int, Schema] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}
_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_BOUNDS = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}


class Schemas:
    """The components of the document, made as they are referred to."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.components: dict[str, Schema] = {}
        self._names = _short_names(contract)

    def ref(self, descriptor: Descriptor, use: str = SHOWN) -> Schema:
        """A reference to the schema of a message for *use*; its own shape where protobuf gives it one."""
        known = KNOWN.get(descriptor.full_name)
        if known is not None:
            return dict(known)
        if descriptor.full_name.startswith("google.protobuf.") and "value" in descriptor.fields_by_name:
            return self.field(descriptor.fields_by_name["value"], use)
        name = self._names.get(descriptor.full_name, descriptor.name) + use
        if name not in self.components:
            self.components[name] = {}
            self.components[name] = self.object(descriptor, use)
        return {"$ref": f"#/components/schemas/{name}"}

    def object(self, descriptor: Descriptor, use: str, without: Iterable[str] = ()) -> Schema:
        """The schema of a message itself, some of its fields left out."""
        kept = [f for f in descriptor.fields if f.name not in without and self._belongs(f, use)]
        properties = {field.json_name: self.described(field, use) for field in kept}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if comment := self.contract.comment(descriptor.full_name):
            schema["description"] = comment
        required = [f.json_name for f in kept if use == MADE and self.is_required(f)]
        if required:
            schema["required"] = required
        return schema

    def described(self, field: FieldDescriptor, use: str) -> Schema:
        """A field with its comment."""
        schema = self.field(field, use)
        comment = self.contract.comment(field.full_name)
        said: Schema = {"description": comment} if comment else {}
        if use == SHOWN and OUTPUT_ONLY in self._behavior(field):
            said["readOnly"] = True
        return {**schema, **said} if said else schema

    def field(self, field: FieldDescriptor, use: str) -> Schema:
        """A field's values and the rules they keep."""
        rules = self._rules(field)
        # What is changed inside a resource is made anew: a list's items are whole.
        use = MADE if use == CHANGED else use
        if entry := map_entry(field):
            schema: Schema = {
                "type": "object",
                "additionalProperties": self._one(entry.fields_by_name["value"], use),
            }
            _bounds(schema, rules.map, min_pairs="minProperties", max_pairs="maxProperties")
            return schema
        if not field.is_repeated:
            return {**self._one(field, use), **self._scalar_rules(field, rules)}
        items = {**self._one(field, use), **self._scalar_rules(field, rules.repeated.items)}
        schema = {"type": "array", "items": items}
        _bounds(schema, rules.repeated, min_items="minItems", max_items="maxItems")
        if rules.repeated.unique:
            schema["uniqueItems"] = True
        return schema

    def is_required(self, field: FieldDescriptor) -> bool:
        """Whether a request without it is refused."""
        return REQUIRED in self._behavior(field) or self._rules(field).required

    def _one(self, field: FieldDescriptor, use: str) -> Schema:
        if field.message_type:
            return self.ref(field.message_type, use)
        if field.enum_type:
            return self._enum(field.enum_type)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        if field.cpp_type in _INT64:
            return {"type": "string" if use == SHOWN else ["string", "integer"], "format": "int64"}
        return dict(_TYPES[field.cpp_type])

    def _enum(self, enum: EnumDescriptor) -> Schema:
        name = self._names.get(enum.full_name, enum.name)
        if name not in self.components:
            told = [(v.name, self.contract.comment(f"{enum.full_name}.{v.name}")) for v in enum.values]
            lines = [self.contract.comment(enum.full_name), *(f"- {n}: {c}" for n, c in told if c)]
            self.components[name] = {"type": "string", "enum": [n for n, _ in told]}
            if text := "\n".join(line for line in lines if line):
                self.components[name]["description"] = text
        return {"$ref": f"#/components/schemas/{name}"}

    def _belongs(self, field: FieldDescriptor, use: str) -> bool:
        """What the server keeps is not sent; what a resource is called comes by the path."""
        if use == SHOWN:
            return True
        behavior = self._behavior(field)
        if behavior & {OUTPUT_ONLY, IDENTIFIER} or (use == CHANGED and IMMUTABLE in behavior):
            return False
        holder = field.containing_type
        is_resource = holder and self.contract.message_options(holder).Extensions[RESOURCE].type
        return not is_resource or field.name not in (("name", "etag") if use == MADE else ("name",))

    def _behavior(self, field: FieldDescriptor) -> set[int]:
        return set(self.contract.field_options(field).Extensions[BEHAVIOR])

    def _rules(self, field: FieldDescriptor) -> Any:
        return self.contract.field_options(field).Extensions[RULES]

    def _scalar_rules(self, field: FieldDescriptor, rules: Any) -> Schema:
        kind = rules.WhichOneof("type")
        schema: Schema = {}
        if kind == "string":
            return _string_rules(rules)
        if kind and not field.message_type and not field.enum_type and hasattr(getattr(rules, kind), "gte"):
            for rule, keyword in _BOUNDS.items():
                if getattr(rules, kind).HasField(rule):
                    schema[keyword] = getattr(getattr(rules, kind), rule)
        return schema


def _string_rules(rules: Any) -> Schema:
    said = rules.string
    schema: Schema = {}
    empty_too = bool(rules.ignore)
    if said.min_len and not empty_too:
        schema["minLength"] = said.min_len
    if said.HasField("max_len"):
        schema["maxLength"] = said.max_len
    if said.HasField("len"):
        schema["minLength"] = schema["maxLength"] = said.len
    if said.pattern:
        schema["pattern"] = f"^$|{said.pattern}" if empty_too else said.pattern
    for rule, name in _FORMATS.items():
        if said.WhichOneof("well_known") == rule and not empty_too:
            schema["format"] = name
    return schema


def _bounds(schema: Schema, rules: Any, **keywords: str) -> None:
    for rule, keyword in keywords.items():
        if rules.HasField(rule):
            schema[keyword] = getattr(rules, rule)


def _short_names(contract: Contract) -> dict[str, str]:
    """Full name → what it is called in the document: its own name, the package before it where two agree."""
    everything = [*(d.full_name for d in contract.messages()), *contract.enums()]
    found: dict[str, list[str]] = {}
    for full in everything:
        found.setdefault(_nested(full), []).append(full)
    return {
        full: short if len(fulls) == 1 else f"{full.split('.')[1]}.{short}"
        for short, fulls in found.items()
        for full in fulls
    }


def _nested(full: str) -> str:
    """Order.Line: the name behind the package, which is written small."""
    parts = full.split(".")
    return ".".join(part for part in parts if part[:1].isupper())
