"""Run folders: what a scan leaves on disk."""
