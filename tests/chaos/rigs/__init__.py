"""Focused rigs: each works one promise hard and answers what it counted and what it found broken."""
