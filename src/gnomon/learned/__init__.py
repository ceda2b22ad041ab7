"""Floor 4: `Learned`, what `fit` and `load` return: every ability in the user's units, and the run folder it is kept in."""

from gnomon.learned.columns import complete, marginal_log_prob, quantile
from gnomon.learned.draws import sample_and_log_prob
from gnomon.learned.exploring import Latent
from gnomon.learned.learned import Learned, load
from gnomon.learned.posterior import Draws, posterior
from gnomon.learned.property_search import Found, property_rows, property_search

__all__ = [
    "Draws",
    "Found",
    "Latent",
    "Learned",
    "complete",
    "load",
    "marginal_log_prob",
    "posterior",
    "property_rows",
    "property_search",
    "quantile",
    "sample_and_log_prob",
]
