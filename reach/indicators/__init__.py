"""The indicators of under-trained tokens in use, and how well each of them tells what was proved."""
