"""Floor 5: the loop that plays a model's game, and `fit`, which sets it up."""

from gnomon.training.fit import fit, resume
from gnomon.training.rate_range import RangeTest, range_test
from gnomon.training.settings import Settings

__all__ = ["RangeTest", "Settings", "fit", "range_test", "resume"]
