"""Floor 6: which settings of a fit are best on this data, and how good the choice is where nothing was chosen.

Every fit is `training.fit`'s; here is which ones are made, on which rows, and what follows from their scores.
"""

from gnomon.selection.result import Search
from gnomon.selection.scoring import Score
from gnomon.selection.searching import search
from gnomon.selection.space import parse_space
from gnomon.selection.trials import Trial

__all__ = ["Score", "Search", "Trial", "parse_space", "search"]
