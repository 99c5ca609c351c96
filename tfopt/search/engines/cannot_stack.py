"""The answer to fits that a population cannot train together."""


class CannotStack(ValueError):
    """A model or request that cannot be trained in a stack; the message says why, in one line."""
