"""The reviewed tables of this folder, and what a letter of theirs means for a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# Column → who asks. The key is a service account's; `any` has no credential at all.
CALLERS = {
    "adm": "administrator", "exe": "executive", "mgr": "sales_manager", "rep": "sales_rep", "fin": "finance",
    "whs": "warehouse", "sup": "support", "par": "partner", "aud": "auditor", "key": "key", "any": "",
}  # fmt: skip
LETTERS = frozenset("osamn-+")
# Letter → in whose hands a record may be for the caller to reach it.
REACH = {
    "n": set[str](),
    "m": {"own"},
    "o": {"own", "helped"},
    "s": {"own", "helped", "team", "subtree"},
    "a": {"own", "helped", "team", "subtree", "other", "shown", "lent"},
}
# In whose hands a record is, seen from the caller: what is gone was the caller's own, what is shown is
# shared with the caller to read, what is lent to change.
HANDS = ("own", "helped", "team", "subtree", "other", "shown", "lent", "gone", "foreign", "absent")
# A door was passed when the business answers, be it with a no.
PASSED = frozenset({"OK", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "ABORTED", "ALREADY_EXISTS"})
# What a share never gives: these stay with the owner's side.
OWNERS = ("Delete", "Undelete", "Transfer", "PlaceCustomer", "Assign", "Archive", "Purge", "ShareRecord",
          "SetCustomerCollab")  # fmt: skip
NO = frozenset({"NOT_FOUND", "PERMISSION_DENIED"})


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


def expected(letter: str, hands: str, verb: str) -> frozenset[str]:
    """The doors a call may come to: PASSED, or a code that refuses; *verb* is the method's plain name.

    *hands* is "" for a method that is about no record in particular.
    """
    if letter == "-":
        return frozenset({"PERMISSION_DENIED"})
    if not hands:
        return frozenset({"PASSED"})
    reads = verb.startswith("Get") or verb == "ListFieldChanges"
    if hands == "gone" and letter != "n":
        reached = reads or verb.startswith("Undelete")
    elif hands in ("shown", "lent") and letter in "os":
        reached = reads or (hands == "lent" and not verb.startswith(OWNERS))
    else:
        reached = hands in REACH[letter]
    if reached:
        return frozenset({"PASSED"})
    # A refusal may say that a record is there where the caller may see it; of a foreign one it never does.
    told = hands == "lent" or letter == "n" or (letter == "m" and hands != "foreign")
    return NO if told else frozenset({"NOT_FOUND"})
