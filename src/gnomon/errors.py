"""The errors Gnomon raises: one clear line each, saying what is wrong and what to do.

Every room raises these; the command line prints their text and nothing else.
"""

import re

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class GnomonError(Exception):
    """Base of all errors raised on purpose; its text is one line for the user."""


class DataError(GnomonError, ValueError):
    """The data cannot be used as it is: names the file, column, row and remedy."""


class OptionError(GnomonError, ValueError):
    """An option is unknown or has the wrong type or value."""


class AbilityError(GnomonError, TypeError):
    """A model was asked for something it cannot do: names what it can."""


class RunError(GnomonError, RuntimeError):
    """A run folder is missing, damaged, newer than this version, or does not fit the request."""


class TrainingError(GnomonError, RuntimeError):
    """Training cannot start or go on: a diverged loss, a batch too small, a missing device."""


def visible(text: str) -> str:
    """A text without characters that no page may hold, that steer a terminal, or that would turn the text around them."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)
