"""The laws of a contact."""

from __future__ import annotations

import pytest

from chassis.kernel.refusals import Refused
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer


def test_a_contact_is_in_the_hands_of_its_customer() -> None:
    customer = Customer(
        id="1", display_name="Acme", owner="users/li", team="teams/east", collaborators=("users/wang",)
    )
    contact = Contact(id="2", customer="customers/1", display_name="Maria Anders").following(customer)
    assert (contact.owner, contact.team, contact.collaborators) == ("users/li", "teams/east", ("users/wang",))


def test_a_contact_has_a_name() -> None:
    with pytest.raises(Refused, match="display_name"):
        Contact(id="2", customer="customers/1", display_name="  ").check()
