"""Amounts, numbers and days as they stand in messages, from the text a person would write."""

from __future__ import annotations

from google.type import decimal_pb2, money_pb2

from chassis.kernel.values import Money
from chassis.shapes import money_message


def money(text: str | int, currency: str = "CNY") -> money_pb2.Money:
    """A google.type.Money of decimal text."""
    return money_message(Money.of(text, currency))


def decimal(text: str | int) -> decimal_pb2.Decimal:
    """A google.type.Decimal, of whatever the text says."""
    return decimal_pb2.Decimal(value=str(text))
