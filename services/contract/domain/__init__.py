"""Quotes, contracts, invoices, payments and credit: what they are, and what may happen to them."""
