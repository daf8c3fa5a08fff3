"""How customers are shown, in answers and in events."""

from __future__ import annotations

from tradewind.customer.v1 import customer_pb2

from chassis.shapes import Shape
from services.customer.domain.customer import Customer

show_customer = Shape(Customer, customer_pb2.Customer)
