"""What a model's head is, learnt from a tiny random model of its class instead of looked up in a table."""
