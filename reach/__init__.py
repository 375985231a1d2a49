"""Models in, verdicts out: heads, vocabulary, the scan, certificates on disk."""
