"""Bugs planted on purpose: small patches of the product that a rig must find, never part of the product."""
