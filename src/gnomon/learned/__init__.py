"""Floor 4: `Learned`, what `fit` and `load` return: every ability in the user's units, and the run folder it is kept in."""

from gnomon.learned.columns import complete, marginal_log_prob, quantile
from gnomon.learned.learned import Learned, load
from gnomon.learned.posterior import Draws, posterior

__all__ = ["Draws", "Learned", "complete", "load", "marginal_log_prob", "posterior", "quantile"]
