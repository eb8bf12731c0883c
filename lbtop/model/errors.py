"""Errors a person can act on. Everything else is a bug and crashes loudly."""


class LbtopError(Exception):
    """Wrong usage or unusable input: one line that says what is wrong and what would work. Exit status 2."""
