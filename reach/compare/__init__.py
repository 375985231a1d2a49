"""Comparing solver backends: the same rows, the same budget, one judge."""
