"""What a token is for: the roles that a model's own files give it."""
