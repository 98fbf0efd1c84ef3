"""The error of local commands."""


class Failure(Exception):
    """An error that the developer can fix. Only its message is printed: one sentence that says what to do."""
