"""How the read models are summed up, to be compared after a rebuild."""

from __future__ import annotations

import hashlib

from tradewind.analytics.v1 import report_pb2

from chassis.store import ReadModel, Rows, Tx
from services.analytics.store import AnalyticsStore


def _statement(model: Rows) -> str:
    columns = ", ".join(column.name for column in model.table.columns if column.name != "tenant_id")
    # A cell of nothing is no cell: it depends on the detours a fact took, not on where it stands.
    empty = " AND ".join(f"{name} = 0" for name in model.sums) if isinstance(model, ReadModel) else "false"
    return (
        "SELECT count(*) AS rows, md5(COALESCE(string_agg(cell, '' ORDER BY cell), '')) AS checksum FROM"
        f" (SELECT md5(ROW({columns})::text) AS cell FROM {model.name}"
        f" WHERE tenant_id = %s AND NOT ({empty})) AS cells"
    )


STATEMENTS = {model.name: _statement(model) for model in AnalyticsStore.rows}


async def checksum(tx: Tx) -> report_pb2.ReadModelChecksum:
    """A sum for every table of the organization, and one over all."""
    tables = []
    for name, text in STATEMENTS.items():
        (row,) = await tx.rows(text, [tx.call.tenant])
        tables.append(report_pb2.TableChecksum(table=name, rows=row["rows"], checksum=row["checksum"]))
    whole = hashlib.md5(
        "".join(table.table + table.checksum for table in tables).encode(), usedforsecurity=False
    )
    shown = report_pb2.ReadModelChecksum(checksum=whole.hexdigest(), tables=tables)
    shown.read_time.FromDatetime(tx.call.now)
    return shown
