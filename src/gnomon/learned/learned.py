"""Learned: what `fit` and `load` return: a model's abilities on tables, images and files, in the user's units.

It works in fixed chunks, so that memory is bounded and a result does not depend on how a call was split. Training is elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from gnomon.data import Examples, Label, Ragged, Scaling, Sequence, Set, Spec, Vector, as_table, decode, join, prepare
from gnomon.errors import AbilityError, RunError
from gnomon.learned import runs
from gnomon.learned.anomaly import OWN, By, Calibration, Direction, HeldOut, calibrated, demand_way, scores_of
from gnomon.learned.chunks import Work, dropout_layers, each, evaluating, rows_of, usable_device
from gnomon.learned.codes import read_codes
from gnomon.learned.conditions import encode_conditions
from gnomon.learned.units import BOUND_LATTICE, LATTICE, draws, log_density, predicted
from gnomon.models import Model, abilities
from gnomon.options import whole

Outputs = tuple[Tensor | Ragged, ...]


class Learned:
    """A fitted model with its scaling: every ability in the user's units.

    Args:
        model: the fitted model.
        scaling: the map between the user's units and network space.
        info: the fields of `run.json`: recipe, spec, split, seed, data, decisions, environment, timing.
        history: what was measured during training, one dict a line.
        run: the folder it was loaded from or written to, or None.

    Data may be a table, a dict of columns, arrays, a file, a folder or a bundled name; extra columns are ignored.

    Attributes:
        kept: what new examples are compared with for anomaly scores and p-values.
        training: rows it was just fitted to, raw, if they came from memory and are few; they are neither saved nor loaded.
    """

    training: Examples | None = None

    def __init__(
        self,
        model: Model,
        scaling: Scaling,
        info: Mapping[str, Any],
        *,
        history: list[dict[str, Any]] | None = None,
        run: str | os.PathLike[str] | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model
        self.scaling = scaling
        self.info = {**info, "recipe": {**info.get("recipe", {}), **runs.describe_model(model)}, "spec": model.spec.to_json()}
        self.history = history or []
        self.run = None if run is None else Path(run)
        self.kept = Calibration() if calibration is None else calibration

    # ---- what it is ---------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> Spec:
        """The roles of one example."""
        return self.model.spec

    @property
    def recipe(self) -> dict[str, Any]:
        """How it was fitted: model, options, and the arguments of `fit`."""
        return self.info["recipe"]

    @property
    def abilities(self) -> tuple[str, ...]:
        """What it can do: any of predict, sample, log_prob, log_prob_bound, encode, decode, reconstruct, score."""
        own = abilities(self.model)
        return own if "score" in own or not {"log_prob", "log_prob_bound"} & set(own) else (*own, "score")

    @property
    def name(self) -> str:
        """The model's registered name, or its class."""
        return self.recipe.get("model") or type(self.model).__name__

    @property
    def calibration(self) -> np.ndarray | None:
        """Sorted held-out scores by the model's own way, float64, or None."""
        return self.kept.held_out[OWN].scores if OWN in self.kept.held_out else None

    @calibration.setter
    def calibration(self, scores: np.ndarray) -> None:
        self.kept.held_out[OWN] = HeldOut.of(np.asarray(scores, dtype=np.float64))

    def __repr__(self) -> str:
        place = "" if self.run is None else f" from '{self.run}'"
        return f"<Learned {self.name}{place}: {', '.join(self.abilities)}>"

    def read(self, data: Any, *, density: bool = False, target: bool = False) -> Examples:
        """The user's data as raw examples of this run: what every ability does first, so that a file can be read once for several.

        Args:
            data: anything that `fit` reads; raw examples are handed back as they are.
            density: they are for `log_prob`, `log_prob_bound` or `score` (a model of targets then needs these).
            target: they must hold the target.
        """
        if isinstance(data, Examples):
            return data
        roles = ["x"] + (["given"] if self.spec.given is not None else [])
        if target or (density and self.model.target is not None):
            roles.append("y")
        return prepare(data, spec=self.spec, roles=tuple(roles), absent=self._may_be_absent).raw

    # ---- abilities ----------------------------------------------------------------------------------------------------

    def sample(self, n: int, given: Any = None, seed: int = 0) -> Any:
        """Draw `n` new examples.

        Args:
            n: how many.
            given: the condition: a dict of scalars or arrays of length n, a table or file with n rows, n images, n sets, or None.
            seed: the same seed gives the same examples, and ``sample(20)[:10]`` equals ``sample(10)``.

        Returns:
            A `pyarrow.Table` with the training table's columns (the condition's included), or a numpy array if the data was one.

        Raises:
            AbilityError: the model cannot sample, or a condition is absent that was never absent in training.
            OptionError, DataError: a condition has an unknown name or category, or the wrong length.
        """
        self._demand("sample")
        n, seed = whole(n, "sample", least=1), whole(seed, "seed")
        wanted = encode_conditions(self.spec.given, given, n, absent=self._may_be_absent)

        def draw(part: Examples) -> Outputs:
            return (self.scaling.inverse("x", self._do("sample", len(part), self._scaled(part.given))),)

        (x,) = self._each(draw, Examples(torch.empty(n, 0), given=wanted), seed=("sample", seed))
        return self._in_users_units(x, wanted)

    def log_prob(self, data: Any) -> np.ndarray:
        """Log-density of each example in nats, in the user's units; of probability where columns are whole numbers.

        Args:
            data: the examples, with the condition's columns where the model has one.

        Returns:
            float64 ``(n,)``; −inf outside the support.

        Raises:
            AbilityError: the model has no log-density, or only a lower bound on it (see `log_prob_bound`).
        """
        if "log_prob" not in self.abilities and "log_prob_bound" in self.abilities:
            raise AbilityError(f"{self.name} has only a lower bound on the log-probability; use log_prob_bound, which gives its error too")
        self._demand("log_prob")
        return _numpy(self._each(lambda part: self._density(part, "log_prob")[:1], self.read(data, density=True))[0])

    def log_prob_bound(self, data: Any, samples: int | None = None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Lower bound on the log-density of each example, with its Monte-Carlo standard error.

        Args:
            data: the examples.
            samples: draws per example (whole numbers share them out); the model's own default if None. More tighten the bound.
            seed: of the draws.

        Returns:
            value and standard error in nats, float64 ``(n,)`` each; −inf and 0 outside the support.
        """
        self._demand("log_prob_bound")
        raw = self.read(data, density=True)
        work: Work = lambda part: self._density(part, "log_prob_bound", samples)  # noqa: E731
        value, error = self._each(work, raw, seed=("log_prob_bound", seed))
        return _numpy(value), _numpy(error)

    def score(self, data: Any, anomaly: bool = False, *, by: By | None = None, direction: Direction = "high") -> Any:
        """How strange each example is: larger is stranger, infinite outside the support.

        Args:
            data: the examples.
            anomaly: also return the p-value of each, see `p_value`.
            by: None for the model's own score (without one, minus its log-density or the bound on it), or one that it has the means for:
                "reconstruction" (minus the log-likelihood given its code, or the squared error in network space), "bound" and "density"
                (minus the log-density in nats, in the user's units), "latent" (the squared Mahalanobis distance of its code from those of
                training rows).
            direction: of the p-value.

        Returns:
            float64 ``(n,)``; with ``anomaly=True`` a pair of them.
        """
        self._demand("score")
        own = "score" in abilities(self.model)
        scores = scores_of(self, self.read(data, density=by in ("bound", "density") or (by is None and not own)), demand_way(self, by))
        return (scores, self.p_value(scores, by=by, direction=direction)) if anomaly else scores

    def p_value(self, scores: np.ndarray, *, by: By | None = None, direction: Direction = "high") -> np.ndarray:
        """Share of held-out examples at least as strange: (k + 1) / (m + 1) for k of m held-out scores that reach it, counted by weight.

        Args:
            scores: what `score` gave.
            by: the way in which it was asked.
            direction: "high": large scores are strange; "low": small ones, too usual to be true; "both": twice the smaller of the two.

        Raises:
            AbilityError: the run kept no held-out scores.
        """
        kept = self.kept.held_out.get(demand_way(self, by))
        if kept is None:
            raise AbilityError("p-values need held-out scores, and this run has none; fit with validation=0.1")
        return kept.p_value(np.asarray(scores, dtype=np.float64), direction)

    def calibrate(self, raw: Examples, training: Examples | None = None) -> None:
        """Keep the sorted anomaly scores of held-out examples (at most 10,000, taken evenly), for p-values, in every way there is.

        Args:
            raw: held-out examples in the user's units. Without the ability `score`, or without examples, nothing is kept.
            training: training examples, whose codes the latent distance is counted from; without them the held-out ones.
        """
        self.kept = calibrated(self, raw, training)

    def predict(self, data: Any, proba: bool = False, samples: int | None = None, sd: bool = False) -> Any:
        """Predict the target of each example.

        Args:
            data: the examples; their target is not needed.
            proba: a classifier's class probabilities instead of labels.
            samples: average over that many passes with dropout switched on (Monte-Carlo dropout), instead of one without.
            sd: also return the standard deviation that a regressor predicts.

        Returns:
            Classifier: labels ``(n,)``, or with `proba` float64 ``(n, classes)``. Regressor: means in the user's units, float64
            ``(n,)`` for one target and ``(n, targets)`` for more; with `sd` a pair.

        Raises:
            AbilityError: the model cannot predict, gives no probabilities or spread, or has no dropout to average over.
        """
        self._demand("predict")
        target = self.spec.y
        labels = isinstance(target, Label)
        if proba and not labels:
            raise AbilityError(f"{self.name} predicts numbers, not classes, so it has no class probabilities; ask for sd instead")
        if sd and labels:
            raise AbilityError(f"{self.name} predicts classes, so it has no standard deviation; ask for proba instead")
        dropout = () if samples is None else dropout_layers(self.model, samples, self.name)

        def work(part: Examples) -> Outputs:
            return predicted([self._do("predict", self._batch(part)) for _ in range(samples or 1)], self.scaling)

        outputs = [_numpy(o) for o in self._each(work, self.read(data), seed=("predict", 0), switched_on=dropout)]
        if isinstance(target, Label):
            return outputs[0] if proba else decode(target, torch.from_numpy(outputs[0].argmax(1)))
        if sd and len(outputs) == 1:
            raise AbilityError(f"{self.name} was fitted without a spread (spread=none), so it has no standard deviation")
        values = [o[:, 0] if o.ndim == 2 and o.shape[1] == 1 else o for o in outputs]
        return (values[0], values[1]) if sd else values[0]

    def encode(self, data: Any) -> np.ndarray:
        """The code of each example: float32 ``(n, k)``."""
        self._demand("encode")
        return _numpy(self._each(lambda part: (self._do("encode", self._batch(part)),), self.read(data), seed=("encode", 0))[0])

    def decode(self, z: Any, given: Any = None) -> Any:
        """Examples in the user's units from codes; DataError where they are no finite numbers, or of another shape.

        Args:
            z: codes ``(n, k)`` as `encode` gives them.
            given: the condition, as for `sample`.
        """
        self._demand("decode")
        codes = read_codes(z, getattr(self.model, "latent", None))
        wanted = encode_conditions(self.spec.given, given, len(codes), absent=self._may_be_absent)

        def work(part: Examples) -> Outputs:
            return (self.scaling.inverse("x", self._do("decode", part.x.to(self.model.device), self._scaled(part.given))),)

        (x,) = self._each(work, Examples(codes, given=wanted), seed=("decode", 0))
        return self._in_users_units(x, wanted)

    def reconstruct(self, data: Any) -> Any:
        """Each example as the model tells it again, in the user's units; the condition's columns are as they came."""
        self._demand("reconstruct")
        raw = self.read(data)
        work: Work = lambda part: (self.scaling.inverse("x", self._do("reconstruct", self._batch(part))),)  # noqa: E731
        (x,) = self._each(work, raw, seed=("reconstruct", 0))
        return self._in_users_units(x, raw.given)

    # ---- keeping ------------------------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str], overwrite: bool = False) -> Path:
        """Write the run to `folder` (`run.json`, `model.safetensors`, `history.jsonl`), from which `load` makes it again.

        Raises:
            RunError: the folder exists and holds something, unless `overwrite` (other files in it stay).
        """
        self.run = runs.free_folder(folder, overwrite)
        self.info = runs.write_run(self.run, self.info, self.tensors())
        runs.write_history(self.run, self.history)
        return self.run

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `model.safetensors` holds, by name."""
        named = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        named |= {f"scaling.{name}": value for name, value in self.scaling.state().items()}
        return named | {f"calibration.{name}": value for name, value in self.kept.tensors().items()}

    # ---- parts --------------------------------------------------------------------------------------------------------

    def _demand(self, ability: str) -> None:
        if ability not in self.abilities:
            raise AbilityError(f"{self.name} cannot {ability.replace('_', ' ')}; it can: {', '.join(self.abilities) or 'nothing'}")

    def _do(self, ability: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.model, ability)(*arguments, **options)

    def _each(self, work: Work, raw: Examples, *, seed: tuple[str, int] | None = None, switched_on: tuple[nn.Module, ...] = ()) -> Outputs:
        device = self.model.device
        with evaluating(self.model, device, switched_on=switched_on):
            return each(work, raw, rows_of(self.spec.x, self.spec.given), device=device, seed=seed)

    def _batch(self, raw: Examples) -> Examples:
        """A chunk in network space, on the model's device; whole numbers sit in the middle of their cell."""
        return self.scaling.forward(raw.with_(y=None, weight=None)).to(self.model.device)

    def _density(self, raw: Examples, ability: str, samples: int | None = None) -> tuple[Tensor, Tensor]:
        bound = ability == "log_prob_bound"
        options = draws(getattr(self.model, ability), samples, self.scaling) if bound else {}

        def evaluate(batch: Examples) -> tuple[Tensor, Tensor | None]:
            made = self._do(ability, batch, **options)
            return made if isinstance(made, tuple) else (made, None)

        role, points = "x" if self.model.target is None else "y", BOUND_LATTICE if bound else LATTICE
        return log_density(evaluate, self.scaling, raw.with_(weight=None), self.model.device, role=role, points=points)

    @property
    def _may_be_absent(self) -> bool:
        """Whether examples without the condition were shown in training."""
        settings = (self.info.get("decisions") or {}).get("settings")
        return isinstance(settings, dict) and bool(settings.get("drop_given", 0))

    def _scaled(self, given: Tensor | Ragged | None) -> Tensor | Ragged | None:
        """Conditions in network space on the model's device."""
        if given is None:
            return None
        none = torch.empty(0, *getattr(self.spec.x.of if isinstance(self.spec.x, Set) else self.spec.x, "shape", ()))
        made = self.scaling.store(Examples(none, given=given)).given
        assert made is not None
        return made.to(self.model.device)

    def _in_users_units(self, x: Tensor | Ragged, given: Tensor | Ragged | None) -> Any:
        """The columns of x and given as the user had them: a table in the training table's order, or an array."""
        made, kind = decode(self.spec.x, x), self.spec.given
        columns = isinstance(kind, Vector) or (isinstance(kind, (Set, Sequence)) and not kind.of.bare)
        if given is None or kind is None or not columns or not isinstance(made, pa.Table):
            return made
        return join([made, as_table(kind, given)], order=self.info.get("data", {}).get("columns"))


def load(folder: str | os.PathLike[str], model: Any = None, *, device: str | torch.device = "cpu") -> Learned:
    """The Learned that was saved in a run folder.

    Args:
        folder: the run folder.
        model: the Model, its class, or a factory ``spec -> Model``; only for one without a registered name or with modules as options.
        device: where the model goes.

    Raises:
        RunError: the folder holds no finished run, is damaged, was written by a newer version, or needs a model that is not registered.
        OptionError: there is no such device here.

    Example:
        >>> import gnomon, tempfile
        >>> learned = gnomon.fit("pca", "wine", options={"components": 2}, progress=False)
        >>> folder = learned.save(tempfile.mkdtemp() + "/run")
        >>> (gnomon.load(folder).encode("wine") == learned.encode("wine")).all()
        np.True_
    """
    info = runs.read_run(folder)
    groups = runs.read_weights(folder, info)
    made = runs.build_model(info, folder, model)
    try:
        made.load_state_dict(groups["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"run '{folder}' is damaged: its weights do not fit the model in run.json ({reason})") from error
    scaling = Scaling.from_state(made.spec, groups["scaling"], whole=made.whole)
    calibration = Calibration.from_tensors(groups["calibration"])
    made = made.to(usable_device(device)).eval()
    return Learned(made, scaling, info, history=runs.read_history(folder), run=folder, calibration=calibration)


def _numpy(values: Tensor | Ragged) -> np.ndarray:
    assert isinstance(values, Tensor)
    return values.detach().numpy()
