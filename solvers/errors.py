"""The errors that a person can mend: each message says what, where, and what to do."""


class BadInput(ValueError):
    """Input that cannot be worked with. The message is one line for the person who gave it (exit code 2)."""


class MissingExtra(BadInput):
    """An optional package is not installed; the message names the extra that brings it."""
