"""How business code says no: a reason, and the facts that fill its sentence."""

from __future__ import annotations


class Refused(Exception):
    """A call is refused for a reason the caller can act on.

    The reason is a value of some `errors.proto`, where its code and its sentences (English, Chinese)
    stand; *facts* fill the braces of those sentences. A fact named `field` points at the request's field.
    """

    def __init__(self, reason: str, **facts: object) -> None:
        self.reason = reason
        self.facts = {key: str(value) for key, value in facts.items()}
        super().__init__(f"{reason} {self.facts}" if facts else reason)


def invalid(field: str, problem: str) -> Refused:
    """The refusal of a value, to be raised: names the field and says what would be right."""
    return Refused("FIELD_INVALID", field=field, problem=problem)
