"""Names the user may write: models, networks, data sets, statistics, loggers.

A name is resolved here and nowhere else; what a file names is never imported unless it stands in this table
or was registered by the user's own program (`gnomon.register`, or an entry point of an installed package).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from gnomon.errors import OptionError
from gnomon.options import unknown

ENTRY_POINTS = "gnomon"


class Registry:
    """A table of names for one sort of thing; its own entries are imported only when asked for.

    Args:
        thing: what is registered, in words ("model").
        entries: name to ``"module:attribute"`` inside Gnomon.
    """

    def __init__(self, thing: str, entries: dict[str, str]) -> None:
        self.thing = thing
        self._entries: dict[str, str] = dict(entries)
        self._registered: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """What `name` stands for. Raises OptionError naming the nearest known one."""
        if name in self._registered:
            return self._registered[name]
        if name in self._entries:
            module, attribute = self._entries[name].split(":")
            return getattr(importlib.import_module(module), attribute)
        found = self._from_entry_points(name)
        if found is None:
            raise OptionError(unknown(self.thing, name, sorted(self)) + f" (or register your own: gnomon.register('{name}', …))")
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._registered or name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter({**self._entries, **self._registered})

    def register(self, name: str, thing: Any) -> None:
        """Add `thing` under `name` for this process. Raises OptionError if the name is taken by another."""
        if name in self._entries or self._registered.get(name, thing) is not thing:
            raise OptionError(f"{self.thing} '{name}' is already registered; choose another name")
        self._registered[name] = thing

    def name_of(self, thing: Any) -> str | None:
        """The name under which a class was registered or is built in, or None."""
        for name, registered in self._registered.items():
            if registered is thing:
                return name
        path = f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', '')}"
        return next((name for name, entry in self._entries.items() if entry == path), None)

    def _from_entry_points(self, name: str) -> Any:
        from importlib.metadata import entry_points

        for point in entry_points(group=f"{ENTRY_POINTS}.{self.thing.replace(' ', '_')}s", name=name):
            self._registered[name] = point.load()
        return self._registered.get(name)


models = Registry(
    "model",
    {
        "classifier": "gnomon.models.classifier:Classifier",
        "regressor": "gnomon.models.regressor:Regressor",
        "pca": "gnomon.models.pca:PCA",
        "anomaly_detector": "gnomon.models.anomaly_detector:AnomalyDetector",
        "autoencoder": "gnomon.models.autoencoder:Autoencoder",
        "vae": "gnomon.models.vae:VAE",
        "ladder_vae": "gnomon.models.ladder_vae:LadderVAE",
        "flow": "gnomon.models.flow:Flow",
        "set_flow": "gnomon.models.set_flow:SetFlow",
        "triangular_flow": "gnomon.models.triangular_flow:TriangularFlow",
        "gan": "gnomon.models.gan:GAN",
        "boltzmann": "gnomon.models.boltzmann:Boltzmann",
        "mixture_density": "gnomon.models.mixture_density:MixtureDensity",
        "two_stage": "gnomon.models.two_stage:TwoStage",
        "vqvae": "gnomon.models.vqvae:VQVAE",
    },
)

networks = Registry(
    "network",
    {
        "mlp": "gnomon.networks.vectors:VectorNetwork",
        "residual": "gnomon.networks.vectors:ResidualVectorNetwork",
        "conv": "gnomon.networks.images:ConvEncoder",
        "deconv": "gnomon.networks.images:ConvDecoder",
        "unet": "gnomon.networks.images:UNet",
        "deepsets": "gnomon.networks.sets:DeepSets",
        "recurrent": "gnomon.networks.sequences:RecurrentNetwork",
        "transformer": "gnomon.networks.sequences:Transformer",
        "causal": "gnomon.networks.sequences:CausalNetwork",
    },
)

datasets = Registry(
    "data set",
    {
        "digits": "gnomon.data.bundled:digits",
        "breast_cancer": "gnomon.data.bundled:breast_cancer",
        "wine": "gnomon.data.bundled:wine",
        "diabetes": "gnomon.data.bundled:diabetes",
        "iris": "gnomon.data.bundled:iris",
        "moons": "gnomon.data.toys:Moons",
        "gaussians": "gnomon.data.toys:Gaussians",
        "checkerboard": "gnomon.data.toys:Checkerboard",
        "coin": "gnomon.data.toys:Coin",
    },
)

statistics = Registry(
    "statistic",
    {
        "missing": "gnomon.checks.statistics.validity:missing",
        "outside": "gnomon.checks.statistics.validity:outside",
        "w1": "gnomon.checks.statistics.columns:w1",
        "ks": "gnomon.checks.statistics.columns:ks",
        "kuiper": "gnomon.checks.statistics.columns:kuiper",
        "tv": "gnomon.checks.statistics.columns:tv",
        "cvm": "gnomon.checks.statistics.columns:cvm",
        "tails": "gnomon.checks.statistics.columns:tails",
        "separation": "gnomon.checks.statistics.columns:separation",
        "distinct": "gnomon.checks.statistics.granularity:distinct",
        "correlation": "gnomon.checks.statistics.correlation:correlation",
        "rank_correlation": "gnomon.checks.statistics.rank_correlation:rank_correlation",
        "power_spectrum": "gnomon.checks.statistics.spectrum:power_spectrum",
        "sliced_w2": "gnomon.checks.statistics.sliced:sliced_w2",
        "earth_mover": "gnomon.checks.statistics.transport:earth_mover",
        "sinkhorn": "gnomon.checks.statistics.transport:sinkhorn",
        "frechet": "gnomon.checks.statistics.frechet:frechet",
        "c2st_auc": "gnomon.checks.statistics.c2st:c2st_auc",
        "mmd": "gnomon.checks.statistics.kernels:mmd",
        "energy": "gnomon.checks.statistics.kernels:energy",
        "kid": "gnomon.checks.statistics.kernels:kid",
        "precision": "gnomon.checks.statistics.neighbours:precision",
        "recall": "gnomon.checks.statistics.neighbours:recall",
        "density": "gnomon.checks.statistics.neighbours:density",
        "coverage": "gnomon.checks.statistics.neighbours:coverage",
        "diversity": "gnomon.checks.statistics.diversity:diversity",
        "vendi": "gnomon.checks.statistics.diversity:vendi_score",
        "memorisation": "gnomon.checks.statistics.memorisation:memorisation",
        "copies": "gnomon.checks.statistics.duplicates:copies",
        "duplicates": "gnomon.checks.statistics.duplicates:duplicates",
        "class_share": "gnomon.checks.statistics.labelled:class_share",
        "mode_score": "gnomon.checks.statistics.labelled:mode_score",
        "inception_score": "gnomon.checks.statistics.labelled:inception_score",
        "log_likelihood": "gnomon.checks.statistics.likelihood:log_likelihood",
        "baselines": "gnomon.checks.statistics.baselines:baselines",
        "bits_per_dimension": "gnomon.checks.statistics.likelihood:bits_per_dimension",
        "latent_normality": "gnomon.checks.statistics.latent:latent_normality",
        "inversion_error": "gnomon.checks.statistics.latent:inversion_error",
        "conditional_ks": "gnomon.checks.statistics.conditions:conditional_ks",
        "conditional_log_likelihood": "gnomon.checks.statistics.conditions:conditional_log_likelihood",
        "sbc": "gnomon.checks.statistics.simulation:sbc",
        "tarp": "gnomon.checks.statistics.simulation:tarp",
        "accuracy": "gnomon.checks.statistics.predictions:accuracy",
        "log_loss": "gnomon.checks.statistics.predictions:log_loss",
        "roc_auc": "gnomon.checks.statistics.ranking:roc_auc",
        "average_precision": "gnomon.checks.statistics.ranking:average_precision",
        "class_recall": "gnomon.checks.statistics.predictions:class_recall",
        "ece": "gnomon.checks.statistics.calibration:ece",
        "rmse": "gnomon.checks.statistics.predictions:rmse",
        "r2": "gnomon.checks.statistics.predictions:r2",
        "crps": "gnomon.checks.statistics.calibration:crps",
        "spread_coverage": "gnomon.checks.statistics.calibration:spread_coverage",
        "pit": "gnomon.checks.statistics.calibration:pit",
        "conformal_coverage": "gnomon.checks.statistics.conformal:conformal_coverage",
        "anomaly_auc": "gnomon.checks.statistics.anomalies:anomaly_auc",
        "anomaly_average_precision": "gnomon.checks.statistics.anomalies:anomaly_average_precision",
        "reconstruction": "gnomon.checks.statistics.reconstruction:reconstruction",
        "ssim": "gnomon.checks.statistics.reconstruction:ssim",
        "psnr": "gnomon.checks.statistics.reconstruction:psnr",
    },
)

loggers = Registry(
    "logger",
    {
        "tensorboard": "gnomon.training.loggers.tensorboard:TensorBoard",
        "mlflow": "gnomon.training.loggers.mlflow:MLflow",
        "wandb": "gnomon.training.loggers.wandb:WeightsAndBiases",
    },
)

SORTS = {"models": models, "networks": networks, "datasets": datasets, "statistics": statistics, "loggers": loggers}
"""The registries by the word that `gnomon list` takes."""


def available(sort: str) -> tuple[str, ...]:
    """Names that can be written, of one sort: "models", "networks", "datasets", "statistics" or "loggers".

    Raises:
        OptionError: another word.

    Example:
        >>> "flow" in available("models")
        True
    """
    if sort not in SORTS:
        raise OptionError(unknown("sort", sort, SORTS))
    return tuple(SORTS[sort])


def register(name: str, thing: Any, sort: str | None = None) -> Any:
    """Give `thing` a name for this process, so that it can be written wherever a built-in name can.

    Args:
        name: the name.
        thing: a Model class, a network class, a statistic, a data set or a logger.
        sort: "models", "networks", "datasets", "statistics" or "loggers"; only needed for functions, which do not tell by themselves.

    Returns:
        `thing`.

    Raises:
        OptionError: the name is taken, or it cannot be told what `thing` is.
    """
    if sort is None:
        bases = [f"{base.__module__}:{base.__qualname__}" for base in getattr(thing, "__mro__", ())]
        sort = "models" if "gnomon.models.base:Model" in bases else "networks" if "torch.nn.modules.module:Module" in bases else None
    if sort not in SORTS:
        raise OptionError(f"register wants to know what '{name}' is: pass sort=, one of {', '.join(SORTS)}")
    SORTS[sort].register(name, thing)
    return thing
