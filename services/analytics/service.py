"""The only wiring of the analytics service."""

from __future__ import annotations

from chassis.laws import Law
from chassis.service import Service
from services.analytics import reactions
from services.analytics.rpc.report import ReportRpc
from services.analytics.store import AnalyticsStore

LAWS = (
    Law(
        "deals in cells",
        "cells by month and by product = deals, in every state and currency",
        broken="""WITH facts AS (
              SELECT state, amount_currency AS currency, count(*) AS deals, sum(amount) AS amount
              FROM deals WHERE tenant_id = %(tenant)s GROUP BY 1, 2
            ), months AS (
              SELECT state, currency, sum(deals) AS deals, sum(amount) AS amount
              FROM deals_by_month WHERE tenant_id = %(tenant)s GROUP BY 1, 2 HAVING sum(deals) <> 0
            ), products AS (
              SELECT state, currency, sum(amount) AS amount
              FROM deals_by_product WHERE tenant_id = %(tenant)s GROUP BY 1, 2 HAVING sum(deals) <> 0
            )
            SELECT state || ' ' || currency AS broken FROM facts
            FULL JOIN months USING (state, currency) FULL JOIN products USING (state, currency)
            WHERE facts.deals IS DISTINCT FROM months.deals OR facts.amount IS DISTINCT FROM months.amount
               OR facts.amount IS DISTINCT FROM products.amount""",
        counted="SELECT count(*) FROM deals WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "revenue in cells",
        "cells by month, customer and product = orders that count as revenue, in every currency",
        broken="""WITH facts AS (
              SELECT currency, count(*) AS orders, sum(net) AS net, sum(freight) AS freight
              FROM orders WHERE tenant_id = %(tenant)s AND counted GROUP BY 1
            ), customers AS (
              SELECT currency, sum(orders) AS orders, sum(net) AS net, sum(freight) AS freight
              FROM sales_by_customer WHERE tenant_id = %(tenant)s GROUP BY 1 HAVING sum(orders) <> 0
            ), products AS (
              SELECT currency, sum(net) AS net
              FROM sales_by_product WHERE tenant_id = %(tenant)s GROUP BY 1 HAVING sum(orders) <> 0
            ), months AS (
              SELECT currency, sum(orders) AS orders, sum(net) AS net, sum(freight) AS freight
              FROM sales_by_month WHERE tenant_id = %(tenant)s GROUP BY 1 HAVING sum(orders) <> 0
            ), parts AS (
              SELECT currency, sum(net) AS net
              FROM product_sales_by_month WHERE tenant_id = %(tenant)s GROUP BY 1 HAVING sum(orders) <> 0
            )
            SELECT currency AS broken FROM facts
            FULL JOIN customers USING (currency) FULL JOIN products USING (currency)
            FULL JOIN months USING (currency) FULL JOIN parts USING (currency)
            WHERE facts.orders IS DISTINCT FROM months.orders OR facts.net IS DISTINCT FROM months.net
               OR facts.freight IS DISTINCT FROM months.freight
               OR COALESCE(products.net, 0) <> COALESCE(parts.net, 0)
               OR facts.orders IS DISTINCT FROM customers.orders OR facts.net IS DISTINCT FROM customers.net
               OR facts.freight IS DISTINCT FROM customers.freight
               OR COALESCE(facts.net, 0) <> COALESCE(products.net, 0)""",
        counted="SELECT count(*) FROM orders WHERE tenant_id = %(tenant)s",
    ),
)

SERVICE = Service(
    "analytics",
    AnalyticsStore,
    rpcs=[ReportRpc],
    reactions=reactions,
    checks=LAWS,
    callers=("gateway", "customer"),
    keeps=("access", "contract", "opportunity"),
)
