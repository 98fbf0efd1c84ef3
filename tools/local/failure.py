"""The one way in which a local command fails: a sentence that says what to do."""


class Failure(Exception):
    """Something the developer can mend; the text is one plain sentence and all that is shown."""
