"""Which maps of a vocabulary there are."""

PROJECTIONS = ("pca", "umap", "pacmap")
"""In the order in which a page offers them."""
NO_PROJECTION = "none"
"""Asks for nothing new."""
