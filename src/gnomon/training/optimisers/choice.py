"""From an optimiser's name to the optimiser."""

from __future__ import annotations

from gnomon.errors import OptionError
from gnomon.training.optimisers.lbfgs import LBFGS
from gnomon.training.optimisers.levenberg_marquardt import LevenbergMarquardt
from gnomon.training.optimisers.muon import Muon
from gnomon.training.optimisers.optimiser import Optimiser
from gnomon.training.optimisers.options import WHOLE_DATA, OptimiserOptions
from gnomon.training.parameters import FlatParameters

_OTHERS: dict[str, type[Optimiser]] = {"muon": Muon, "lbfgs": LBFGS, "levenberg-marquardt": LevenbergMarquardt}


def make(parameters: FlatParameters, options: OptimiserOptions) -> Optimiser:
    """The optimiser that ``options.optimizer`` names, over `parameters`.

    Raises:
        OptionError: it trains one model at a time and there are several, or there are too many parameters for it.
    """
    if options.optimizer in WHOLE_DATA and parameters.copies is not None:
        raise OptionError(f"optimizer='{options.optimizer}' trains one model at a time; fit each seed by itself")
    return _OTHERS.get(options.optimizer, Optimiser)(parameters, options)
