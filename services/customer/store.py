"""What the customer service keeps, and the questions worth a name."""

from __future__ import annotations

from typing import Any

from chassis.kernel.refusals import Refused
from chassis.store import Collection, Store, Tx
from services.customer.domain.contact import Contact
from services.customer.domain.customer import DEEPEST, Customer, Kind, check_ancestors
from services.customer.domain.lead import Lead


class CustomerStore(Store):
    """Customers, the people there, and leads."""

    customers = Collection(
        Customer,
        index=(
            ("owner", "state"),
            ("team",),
            ("name_key",),
            ("legal_key",),
            ("tax_id",),
            ("parent",),
            ("display_name",),  # what lists are sorted by, with update_time: begun at any page
            ("update_time",),
        ),
        unique=(("number",), ("external_id",)),
        private=("name_key", "legal_key"),
    )
    contacts = Collection(Contact, index=(("customer",), ("owner",), ("team",)), unique=(("external_id",),))
    leads = Collection(
        Lead,
        index=(("owner", "state"), ("team",), ("next_follow_up_date",)),
        unique=(("number",), ("external_id",)),
    )


async def refuse_duplicate(tx: Tx, customer: Customer) -> None:
    """DUPLICATE_CUSTOMER when another has the same tax id or, among companies, a like name.

    Looks beyond the caller's scope: who asks has to hear of a colleague's customer. The number taken just
    before keeps creations of one organization in line, so that two at once cannot both find nothing.
    """
    arms, params = [], list[Any]()
    if customer.tax_id:
        arms.append("tax_id = %s")
        params.append(customer.tax_id)
    if customer.kind is Kind.COMPANY:
        keys = [key for key in (customer.name_key, customer.legal_key) if key]
        arms.append("kind = 'COMPANY' AND (name_key = ANY(%s) OR legal_key = ANY(%s))")
        params += [keys, keys]
    if not arms:
        return
    asked = (
        "SELECT id, number, owner, tax_id FROM customers WHERE tenant_id = %s AND delete_time IS NULL"
        f" AND ({' OR '.join(arms)}) ORDER BY id LIMIT 1"
    )
    for other in await tx.rows(asked, [tx.call.tenant, *params]):
        field = "tax_id" if customer.tax_id and other["tax_id"] == customer.tax_id else "display_name"
        raise Refused(
            "DUPLICATE_CUSTOMER", field=field, match=field, other=f"customers/{other['id']}",
            number=other["number"], owner=other["owner"],
        )  # fmt: skip


async def refuse_bad_parent(tx: Tx, customer: Customer) -> None:
    """REFERENCE_UNKNOWN, PARENT_CYCLE or PARENT_TOO_DEEP when the customer cannot belong to its parent."""
    # One change of parents at a time: two at once could close a circle that neither of them sees.
    await tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"parents of {tx.call.tenant}"])
    chain: list[dict[str, Any]] = await tx.rows(
        "WITH RECURSIVE chain AS ("
        " SELECT id, parent, 1 AS level FROM customers"
        "  WHERE tenant_id = %s AND id = substr(%s, 11) AND delete_time IS NULL"
        " UNION ALL"
        " SELECT above.id, above.parent, chain.level + 1 FROM chain"
        "  JOIN customers above ON above.tenant_id = %s AND above.id = substr(chain.parent, 11)"
        "  WHERE chain.level <= %s"
        ") SELECT 'customers/' || id AS name FROM chain ORDER BY level",
        [tx.call.tenant, customer.parent, tx.call.tenant, DEEPEST],
    )
    name = tx.name(customer)
    if not chain and customer.parent != name:
        raise Refused("REFERENCE_UNKNOWN", field="parent", name=customer.parent)
    check_ancestors(name, customer.parent, [row["name"] for row in chain[1:]])
