"""Scans of many models: which ones are meant, in what order, and what they share."""
