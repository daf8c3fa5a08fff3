"""The API's description in OpenAPI 3.1, read from the same lines of the contract that the gateway obeys."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

from gateway.contract import PUBLIC, RESOURCE, Contract, Method
from gateway.problem import STATUS, STATUS_OF_REASON
from gateway.routes import VARIABLE, Routes, Rule, parameter_names
from gateway.schemas import CHANGED, MADE, SHOWN, Schema, Schemas
from gateway.transcode import map_entry

ABOUT = """Everything the platform can do, over HTTP and JSON.

Sign in with `POST /v1/sessions`, then send `Authorization: Bearer <accessToken>`; an API key is sent alike.
JSON follows proto3: lowerCamelCase names (snake_case is read too), 64-bit integers as strings, times as
RFC 3339, fields that hold their default left out. gRPC serves the same methods, by their `operationId` up to
its colon.

**Refusals** are `application/problem+json`: a `reason` to act on, the `facts` behind it, a sentence in the
language of `Accept-Language`, the fields at fault in `violations`, the `trace` to quote when asking.

**Doing a thing once**: every method with effects takes an `Idempotency-Key`; the same key, the same answer.

**Nobody's change is lost**: send the `ETag` you read as `If-Match`; 412 says that somebody was faster.
"""
REASON_WORD = re.compile(r"\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)*\b")
HEADERS: dict[str, Schema] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Any text, best a UUID: the same key with the same request is carried out once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag that was read: the change is refused with 412 when the record has moved on.",
        "schema": {"type": "string"},
    },
    "AcceptLanguage": {
        "name": "Accept-Language",
        "in": "header",
        "description": "zh or en: the language of refusals.",
        "schema": {"type": "string"},
    },
    "RequestTimeout": {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds the caller will wait; 10 when not said.",
        "schema": {"type": "number", "minimum": 0.05, "maximum": 60},
    },
}
EVERYWHERE = [{"$ref": f"#/components/parameters/{name}"} for name in ("AcceptLanguage", "RequestTimeout")]


def document(contract: Contract, routes: Routes) -> dict[str, Any]:
    """The whole document."""
    schemas = Schemas(contract)
    singulars = _singulars(contract)
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(routes.rules, key=lambda each: (each.method.home, each.method.service)):
        path, variables = open_path(rule, singulars)
        paths.setdefault(path, {})[rule.verb.lower()] = _operation(rule, variables, schemas)
    used = sorted({rule.method.service for rule in routes.rules})
    tags = [{"name": _tag(name), "description": contract.comment(name)} for name in used]
    schemas.components["Problem"] = _problem(contract)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tradewind", "version": _version(), "description": ABOUT, "license": _LICENSE},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "parameters": HEADERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The access token of a session, or an API key.",
                }
            },
            "responses": {"Refused": _refused("The call is refused; the problem says why.")},
        },
        "x-reasons": [
            {"reason": r.name, "service": r.domain, "code": r.code, "status": _status(r.name, r.code)}
            | {"sentence": r.sentences, "description": r.comment}
            for r in sorted(contract.reasons.values(), key=lambda each: (each.domain, each.name))
        ],
    }


_LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}


def _version() -> str:
    return metadata.version("tradewind")


def _tag(service: str) -> str:
    """opportunity.PipelineService → what a reader looks for: Pipeline."""
    _, home, _, name = service.split(".")
    noun = name.removesuffix("Service")
    return f"{home}: {re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', noun)}"


def operation_id(rule: Rule) -> str:
    """The method's name in gRPC; of a method that is reached by several paths, all but the first of them
    have the word that tells them apart behind it."""
    method = rule.method
    if rule.template == method.routes[0].template:
        return method.full_name
    return f"{method.full_name}:{rule.segments[1]}"


def open_path(rule: Rule, singulars: dict[str, str]) -> tuple[str, list[str]]:
    """/v1/{name=opportunities/*}:win as OpenAPI writes it: /v1/opportunities/{opportunity}:win."""
    names: list[str] = []

    def spell(found: re.Match[str]) -> str:
        spelled = []
        last = ""
        for segment in (found[2] or "*").split("/"):
            if segment == "*":
                name = singulars.get(last, "") or found[1].rpartition(".")[2]
                names.append(name)
                segment = f"{{{name}}}"
            spelled.append(segment)
            last = segment
        return "/".join(spelled)

    return VARIABLE.sub(spell, rule.template), names


def _singulars(contract: Contract) -> dict[str, str]:
    """opportunities → opportunity, by the patterns of the resources."""
    found = {}
    for descriptor in contract.messages():
        for pattern in contract.message_options(descriptor).Extensions[RESOURCE].pattern:
            for collection, name in re.findall(r"(\w+)/\{(\w+)\}", pattern):
                found[collection] = name
    return found


def _operation(rule: Rule, variables: list[str], schemas: Schemas) -> dict[str, Any]:
    method = rule.method
    summary = method.comment.partition("\n\n")[0]
    operation: dict[str, Any] = {
        "operationId": operation_id(rule),
        "tags": [_tag(method.service)],
        "summary": " ".join(summary.split()),
        "description": method.comment,
        "x-permission": method.permission,
        "x-scope": method.scope,
        "x-effects": method.effects,
        "parameters": _parameters(rule, variables, schemas),
        "responses": _responses(method, schemas),
    }
    if method.permission == PUBLIC:
        operation["security"] = []
    if rule.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _body(rule, schemas)}},
        }
    return operation


def _body(rule: Rule, schemas: Schemas) -> Schema:
    descriptor = rule.method.input
    if rule.body == "*":
        taken = [variable.path[0] for variable in rule.variables]
        return schemas.object(descriptor, MADE, without=taken)
    held = descriptor.fields_by_name[rule.body].message_type
    assert held
    return schemas.ref(held, CHANGED if rule.verb == "PATCH" else MADE)


def _parameters(rule: Rule, variables: list[str], schemas: Schemas) -> list[Schema]:
    parameters: list[Schema] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        }
        for name in variables
    ]
    for field in parameter_names(rule):
        if map_entry(field):
            continue
        schema = schemas.field(field, MADE)
        if "$ref" in schema and not field.enum_type and field.message_type:
            parameters += _inner(field.json_name, field.message_type, schemas)
            continue
        entry: Schema = {"name": field.json_name, "in": "query", "schema": schema}
        if comment := schemas.contract.comment(field.full_name):
            entry["description"] = comment
        if schemas.is_required(field):
            entry["required"] = True
        parameters.append(entry)
    fields = rule.method.input.fields_by_name
    if rule.method.effects and "request_id" in fields:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    if rule.method.effects and ("etag" in fields or rule.verb == "PATCH"):
        parameters.append({"$ref": "#/components/parameters/IfMatch"})
    return parameters + EVERYWHERE


def _inner(prefix: str, descriptor: Any, schemas: Schemas) -> list[Schema]:
    """A message in the query is one parameter for each of its plain fields: asOf.year."""
    return [
        {"name": f"{prefix}.{field.json_name}", "in": "query", "schema": schemas.field(field, MADE)}
        for field in descriptor.fields
        if not field.message_type
    ]


# A file itself; its parts come to who asks for them.
_FILES: Schema = {
    "text/csv": {"schema": {"type": "string"}},
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {
        "schema": {"type": "string", "format": "binary"}
    },
}


def _responses(method: Method, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.ref(method.output, SHOWN)
    kinds = ("text/event-stream", "application/x-ndjson") if method.streams else ("application/json",)
    good: dict[str, Any] = {
        "description": "One message after another." if method.streams else "Done.",
        "content": {kind: {"schema": schema} for kind in kinds} | (_FILES if method.file else {}),
    }
    if "etag" in method.output.fields_by_name:
        good["headers"] = {"ETag": {"description": "Changes with every save.", "schema": {"type": "string"}}}
    responses = {"200": good}
    by_status: dict[int, list[str]] = {}
    for reason in sorted(reasons_of(method, schemas.contract)):
        by_status.setdefault(_status(reason, schemas.contract.reasons[reason].code), []).append(reason)
    for status, reasons in sorted(by_status.items()):
        responses[str(status)] = _refused("Refused with " + ", ".join(reasons) + ".") | {"x-reasons": reasons}
    responses["default"] = {"$ref": "#/components/responses/Refused"}
    return responses


def reasons_of(method: Method, contract: Contract) -> set[str]:
    """The reasons that the method's comment names, and those that its shape brings along."""
    named = {word for word in REASON_WORD.findall(method.comment) if word in contract.reasons}
    fields = method.input.fields_by_name
    named |= {"FIELD_INVALID"} if fields else set()
    named |= {"NOT_FOUND"} if "name" in fields else set()
    named |= {"ETAG_MISMATCH"} if method.effects and "etag" in fields else set()
    named |= {"REQUEST_ID_REUSED"} if method.effects and "request_id" in fields else set()
    if method.permission != PUBLIC:
        named |= {"UNAUTHENTICATED", "PERMISSION_DENIED"}
    return named & contract.reasons.keys()


def _status(reason: str, code: str) -> int:
    return STATUS_OF_REASON.get(reason) or STATUS.get(code, 500)


def _refused(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}


def _problem(contract: Contract) -> Schema:
    text: Schema = {"type": "string"}
    return {
        "type": "object",
        "description": "Why a call was refused (RFC 9457), with what the same refusal carries over gRPC.",
        "properties": {
            "type": text | {"format": "uri-reference", "description": "Where the reason is explained."},
            "title": text | {"description": "The reason in words."},
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": text | {"description": "A sentence for a person."},
            "code": text | {"enum": sorted(STATUS), "description": "The google.rpc.Code."},
            "reason": text | {"description": "What to act on; x-reasons lists them all."},
            "domain": text | {"description": "The service whose reason it is; tradewind for everyone's."},
            "facts": {
                "type": "object",
                "additionalProperties": text,
                "description": "What fills the sentence.",
            },
            "violations": {
                "type": "array",
                "description": "The fields at fault, by their paths in the contract.",
                "items": {
                    "type": "object",
                    "properties": {"field": text, "description": text},
                    "required": ["field", "description"],
                },
            },
            "trace": text | {"description": "The trace id to quote when asking."},
        },
        "required": ["type", "title", "status", "detail", "code", "reason", "domain", "facts", "trace"],
    }
