"""Records with other values."""

from __future__ import annotations

import dataclasses

import pytest

from chassis.kernel.record import Owned, replace


def test_a_record_with_other_values_is_the_one_that_dataclasses_would_make() -> None:
    before = Owned(id="1", version=3, owner="users/a", collaborators=("users/b",))

    after = replace(before, owner="users/c", version=4)

    assert after == dataclasses.replace(before, owner="users/c", version=4)
    assert type(after) is Owned
    assert before.owner == "users/a"  # nothing of it is shared that could change


def test_a_name_that_no_field_has_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        replace(Owned(id="1"), colour="red")  # type: ignore[call-arg]
