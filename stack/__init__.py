"""Runs everything together: the only package that imports everyone."""
