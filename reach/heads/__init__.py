"""Model heads: read from files, folded into argmax problems, checked against the live model."""
