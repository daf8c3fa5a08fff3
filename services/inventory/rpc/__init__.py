"""The calls of goods and orders, one file per noun."""
