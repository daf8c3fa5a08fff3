"""Goods and orders: what is sold, what is kept, what is promised, what has left."""
