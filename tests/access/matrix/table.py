"""The reviewed tables of this folder, and what a letter of theirs means for a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Column → who asks. The key is a service account's; `any` has no credential at all.
CALLERS = {
    "adm": "administrator", "exe": "executive", "mgr": "sales_manager", "rep": "sales_rep", "fin": "finance",
    "whs": "warehouse", "sup": "support", "aud": "auditor", "key": "key", "any": "",
}  # fmt: skip
LETTERS = frozenset("osa-+")
# Letter → in whose hands a record may be for the caller to reach it.
REACH = {
    "o": {"own", "helped"},
    "s": {"own", "helped", "team", "subtree"},
    "a": {"own", "helped", "team", "subtree", "other"},
}
# In whose hands a record is, seen from the caller; what is gone was the caller's own.
HANDS = ("own", "helped", "team", "subtree", "other", "gone", "foreign", "absent")
# A door was passed when the business answers, be it with a no.
PASSED = frozenset({"OK", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "ABORTED", "ALREADY_EXISTS"})


@dataclass(frozen=True)
class Row:
    """What the table says of one method."""

    method: str  # "CustomerService.GetCustomer"; of events with the service before it
    letters: Mapping[str, str]  # column → letter


def rows() -> Iterator[Row]:
    """Every row of every table; a table that is not well-formed raises ValueError."""
    for path in sorted(Path(__file__).parent.glob("*.tsv")):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
        head, *body = (line.split("\t") for line in lines)
        if head != [*CALLERS, "method"]:
            raise ValueError(f"{path.name}: the columns are {head}")
        for *letters, method in body:
            if len(letters) != len(CALLERS) or not LETTERS.issuperset(letters):
                raise ValueError(f"{path.name}: {method} has the letters {letters}")
            yield Row(method, dict(zip(CALLERS, letters, strict=True)))


def expected(letter: str, hands: str, *, revives: bool) -> str:
    """PASSED, or the code that refuses; *revives*: the method is about what is gone as well.

    *hands* is "" for a method that is about no record in particular.
    """
    if letter == "-":
        return "PERMISSION_DENIED"
    if not hands:
        return "PASSED"
    if hands == "gone":
        return "PASSED" if revives else "NOT_FOUND"
    return "PASSED" if hands in REACH[letter] else "NOT_FOUND"
