"""Tokens from the files that tokenizers come in, one kind of file each. Code that a model brings is never run."""
