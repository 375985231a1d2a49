"""Stored runs in, HTML and Markdown out."""
