"""Floor 4: `Learned`, what `fit` and `load` return: every ability in the user's units, and the run folder it is kept in."""

from gnomon.learned.learned import Learned, load

__all__ = ["Learned", "load"]
