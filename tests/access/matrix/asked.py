"""The smallest request of a method that gets past the validation of its fields, about a given record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.contract import Method

_VARIABLE = re.compile(r"\{([\w.]+)=([\w/]+)/\*\}")
# Which record a share is asked of, where nothing in the path says it.
SHARED = {
    "customer": "customers",
    "opportunity": "opportunities",
    "contract": "contracts",
    "inventory": "orders",
}
# A field of this name names a record of that collection.
COLLECTIONS = {
    "customer": "customers", "contact": "contacts", "lead": "leads", "opportunity": "opportunities",
    "quote": "quotes", "contract": "contracts", "order": "orders", "shipment": "shipments",
    "invoice": "invoices", "product": "products", "warehouse": "warehouses", "price_list": "priceLists",
    "pipeline": "pipelines", "owner": "users", "manager": "users", "team": "teams",
    "territory": "territories", "grantee": "users", "user": "users", "receiver": "users",
}  # fmt: skip
_TEXTS = ("display_name", "title", "company_name", "description", "carrier", "note")
_WORDS = {
    "stage": "bidding", "password": "a long enough passphrase", "new_password": "another long passphrase",
    "time_zone": "UTC", "locale": "en", "currency": "CNY", "collection": "customers",
}  # fmt: skip


def about(method: Method) -> tuple[str, str]:
    """(field, collection) of the record that a method is about; ("", "") for none."""
    if method.name == "ShareRecord":
        return "record", SHARED[method.home]
    found = _VARIABLE.search(method.routes[0].template)
    return (found[1], found[2]) if found else ("", "")


def resource(method: Method) -> str:
    """The field of a Create or Update that holds the record; "" for other methods."""
    if not method.name.startswith(("Create", "Update")):
        return ""
    return next((f.name for f in method.input.fields if f.message_type is method.output), "")


def hands_over(method: Method) -> bool:
    """Whether a Create lets its caller say whose the record will be."""
    if not method.name.startswith("Create") or method.name == "CreateApiKey":  # that one has rules of its own
        return False
    return writable(GetMessageClass(method.output)(), "owner")


def writable(record: Any, name: str) -> bool:
    """Whether a client may say that field of a new record."""
    described = record.DESCRIPTOR.fields_by_name.get(name)
    if described is None:
        return False
    said = described.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY not in said


def request(method: Method, name: str = "", given: Mapping[str, str] | None = None) -> Any:
    """A request about the record *name*, dry where it can be; *given* are values of required fields."""
    made = GetMessageClass(method.input)()
    field, _ = about(method)
    if field and name:
        put(made, field, name)
    _complete(made, given or {}, field.partition(".")[0] if "." in field else "")
    if "validate_only" in method.input.fields_by_name:
        made.validate_only = True
    return made


def put(message: Any, path: str, value: str) -> None:
    """Set the text at that path."""
    outer, dot, inner = path.partition(".")
    if dot:
        put(getattr(message, outer), inner, value)
    else:
        setattr(message, outer, value)


def _complete(message: Message, given: Mapping[str, str], update: str = "") -> None:
    """Give what is required some value of its kind; of an *update*, change one text."""
    for field in message.DESCRIPTOR.fields:
        said = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field.name == update:
            resource = getattr(message, update)
            for text in _TEXTS:
                if text in resource.DESCRIPTOR.fields_by_name:
                    setattr(resource, text, "x")
                    break
        elif field_behavior_pb2.REQUIRED in said and not _is_set(message, field):
            _some_value(message, field, given)


def _is_set(message: Message, field: Any) -> bool:
    return any(found.name == field.name for found, _ in message.ListFields())


def _some_value(message: Message, field: Any, given: Mapping[str, str]) -> None:
    held = getattr(message, field.name)
    if field.is_repeated:
        if field.message_type:
            _complete(held.add(), given)
        else:
            held.append("users/x")
    elif field.message_type is None:
        texts = field.type == field.TYPE_STRING
        word = {**given, **_WORDS}.get(field.name, "x") if texts else 1
        setattr(message, field.name, word)
    elif field.message_type.full_name == "google.type.Decimal":
        held.value = "1"
    elif field.message_type.full_name == "google.type.Money":
        held.currency_code, held.units = "CNY", 1
    else:
        held.SetInParent()
        _complete(held, given)
