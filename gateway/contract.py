"""The contract as the gateway reads it: every method with its route and permission, and every refusal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import google.api.annotations_pb2
import google.api.field_behavior_pb2
import google.api.resource_pb2
from buf.validate import validate_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from tradewind.type.v1 import options_pb2

HTTP = google.api.annotations_pb2.http
BEHAVIOR = google.api.field_behavior_pb2.field_behavior
RESOURCE = google.api.resource_pb2.resource
RULES = validate_pb2.field
# Permissions that are words of their own instead of a collection's action.
PUBLIC, SIGNED_IN, SERVICE = "public", "signed-in", "service"
VERBS = ("get", "put", "post", "delete", "patch")


class ContractIncomplete(SystemExit):
    """A method does not say what it must: the process ends with the sentence that names it."""


@dataclass(frozen=True)
class Route:
    """One way to reach a method over HTTP."""

    verb: str
    template: str
    body: str


@dataclass(frozen=True)
class Method:
    """One rpc, with all that its annotations say."""

    service: str
    name: str
    input: Descriptor
    output: Descriptor
    routes: tuple[Route, ...]
    permission: str
    scope: str
    effects: bool
    streams: bool
    comment: str
    reads: tuple[str, ...] = ()
    owners_side: bool = False

    @cached_property
    def request_id(self) -> int:
        """The number of the field that makes a change happen once; 0 for none."""
        field = self.input.fields_by_name.get("request_id") if self.effects else None
        return int(field.number) if field else 0

    @property
    def file(self) -> bool:
        """Whether its stream is the parts of a file."""
        return self.streams and self.output.name == "ExportPart"

    @property
    def scoped(self) -> bool:
        """Whether the caller's scope for the permission limits the records."""
        return self.scope == "RECORDS"

    @property
    def full_name(self) -> str:
        """tradewind.opportunity.v1.OpportunityService.WinOpportunity."""
        return f"{self.service}.{self.name}"

    @property
    def path(self) -> str:
        """As gRPC writes it."""
        return f"/{self.service}/{self.name}"

    @property
    def home(self) -> str:
        """The service that serves it: the word behind `tradewind.`."""
        return self.service.split(".")[1]


@dataclass(frozen=True)
class Reason:
    """A refusal there may be: its code, its sentences, and whose it is."""

    name: str
    domain: str
    code: str
    sentences: dict[str, str]
    comment: str


class Contract:
    """Everything the descriptor set says; complete, or the process does not start."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.files = descriptor_pb2.FileDescriptorSet.FromString(image).file
        self.pool = DescriptorPool()
        for file in self.files:
            self.pool.AddSerializedFile(file.SerializeToString())
        self.comments = dict(_comments(self.files))
        self.methods = tuple(self._methods())
        self.reasons = {reason.name: reason for reason in self._reasons()}

    @staticmethod
    def load() -> Contract:
        """The contract this distribution was built with."""
        return Contract((resources.files("tradewind") / "descriptors.binpb").read_bytes())

    @cached_property
    def public(self) -> dict[str, Method]:
        """The methods that come from outside, by gRPC path: all but those between services."""
        return {method.path: method for method in self.methods if method.permission != SERVICE}

    def messages(self) -> Iterator[Descriptor]:
        """Every message there is, nested ones too, map entries apart."""
        for file in self.files:
            for name in _message_names(file.package, file.message_type):
                yield self.pool.FindMessageTypeByName(name)

    def enums(self) -> Iterator[str]:
        """The full name of every enum there is."""
        for file in self.files:
            yield from (f"{file.package}.{enum.name}" for enum in file.enum_type)
            for name, message in _walk(file.package, file.message_type):
                yield from (f"{name}.{enum.name}" for enum in message.enum_type)

    def message_options(self, descriptor: Descriptor) -> Any:
        """The options of a message, extensions read."""
        return self._messages[descriptor.full_name]

    def field_options(self, field: FieldDescriptor) -> Any:
        """The options of *field*, extensions read."""
        return self._fields[field.full_name]

    def comment(self, full_name: str) -> str:
        """What the proto says about it, or nothing."""
        return self.comments.get(full_name, "")

    @cached_property
    def _fields(self) -> dict[str, Any]:
        return {
            f"{name}.{field.name}": field.options
            for file in self.files
            for name, message in _walk(file.package, file.message_type)
            for field in message.field
        }

    @cached_property
    def _messages(self) -> dict[str, Any]:
        return {
            name: message.options
            for file in self.files
            for name, message in _walk(file.package, file.message_type)
        }

    def _methods(self) -> Iterator[Method]:
        for file in self.files:
            if not file.package.startswith("tradewind."):
                continue
            for service in file.service:
                name = f"{file.package}.{service.name}"
                for method in service.method:
                    yield self._method(name, method)

    def _method(self, service: str, method: Any) -> Method:
        name, options = f"{service}.{method.name}", method.options
        if not options.HasExtension(HTTP):
            raise ContractIncomplete(
                f"{name} has no google.api.http option: say where it is reached over HTTP."
            )
        access = options.Extensions[options_pb2.access]
        if not access.permission:
            raise ContractIncomplete(
                f"{name} has no (tradewind.type.v1.access) option with a permission: say who may call it."
            )
        if not access.scope:
            raise ContractIncomplete(f"{name} has a (tradewind.type.v1.access) option without a scope.")
        rule = options.Extensions[HTTP]
        return Method(
            service=service,
            name=method.name,
            input=self.pool.FindMessageTypeByName(method.input_type.lstrip(".")),
            output=self.pool.FindMessageTypeByName(method.output_type.lstrip(".")),
            routes=tuple(_route(name, each) for each in (rule, *rule.additional_bindings)),
            permission=access.permission,
            scope=options_pb2.DataScope.Name(access.scope),
            effects=options.idempotency_level != descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
            streams=method.server_streaming,
            comment=self.comment(name),
            reads=tuple(access.reads),
            owners_side=access.owners_side,
        )

    def _reasons(self) -> Iterator[Reason]:
        for file in self.files:
            for enum in file.enum_type:
                if enum.name != "Reason" or not file.package.startswith("tradewind."):
                    continue
                for value in enum.value:
                    if value.options.HasExtension(options_pb2.refusal):
                        refusal = value.options.Extensions[options_pb2.refusal]
                        yield Reason(
                            name=value.name,
                            domain=_domain(file.package),
                            code=refusal.code,
                            sentences={"en": refusal.en, "zh": refusal.zh},
                            comment=self.comment(f"{file.package}.Reason.{value.name}"),
                        )


def _domain(package: str) -> str:
    """Whose word it is: a service's, or everyone's."""
    service = package.split(".")[1]
    return "tradewind" if service == "type" else service


def _route(name: str, rule: Any) -> Route:
    verb = rule.WhichOneof("pattern")
    if verb not in VERBS:
        raise ContractIncomplete(
            f"{name} has a google.api.http option without get, post, put, patch or delete."
        )
    return Route(verb.upper(), getattr(rule, verb), rule.body)


def _walk(package: str, messages: Any) -> Iterator[tuple[str, Any]]:
    for message in messages:
        name = f"{package}.{message.name}"
        yield name, message
        yield from _walk(name, message.nested_type)


def _message_names(package: str, messages: Any) -> Iterator[str]:
    return (name for name, message in _walk(package, messages) if not message.options.map_entry)


# Where things stand in a FileDescriptorProto, by the field numbers that source paths are made of.
_INSIDE = {
    "file": {4: ("message_type", "message"), 5: ("enum_type", "enum"), 6: ("service", "service")},
    "message": {
        2: ("field", ""),
        3: ("nested_type", "message"),
        4: ("enum_type", "enum"),
        8: ("oneof_decl", ""),
    },
    "enum": {2: ("value", "")},
    "service": {2: ("method", "")},
}


def _comments(files: Any) -> Iterator[tuple[str, str]]:
    """Full name → the comment above it."""
    for file in files:
        for location in file.source_code_info.location:
            if location.leading_comments and (name := _name_at(file, location.path)):
                lines = location.leading_comments.strip("\n").split("\n")
                yield name, re.sub(r"\n{3,}", "\n\n", "\n".join(line.strip() for line in lines)).strip()


def _name_at(file: Any, path: Any) -> str:
    """The full name of what stands at *path*, or "" for an option or a part of something."""
    here, kind, name = file, "file", file.package
    steps = list(path)
    if len(steps) % 2:
        return ""
    for number, place in zip(steps[::2], steps[1::2], strict=True):
        if number not in _INSIDE.get(kind, {}):
            return ""
        field, kind = _INSIDE[kind][number]
        here = getattr(here, field)[place]
        name = f"{name}.{here.name}"
    return name
