"""Opportunities: the deals we try to win, and the pipelines they go through."""
