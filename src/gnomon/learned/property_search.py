"""A search for examples with more of a property: uphill in the latent space, where the prior has mass, and back to examples.

The property of a code is told by a Learned of its own, an ordinary regressor over codes; molecules are judged by `data.molecules`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gnomon.data import Examples, Ragged, Tokens, Vector, mix, smiles
from gnomon.data.molecules import Judge, judged
from gnomon.errors import AbilityError, DataError, OptionError
from gnomon.learned.chunks import each, evaluating, reseed, rows_of
from gnomon.learned.conditions import Encoded
from gnomon.learned.learned import Learned
from gnomon.options import whole

Valid = Callable[[Any], Sequence[bool]]

_AT_ONCE = 512  # codes that climb together
_DRAWS = 2000  # of the prior, to learn where it has mass


@dataclass(frozen=True)
class Found:
    """What a search found, one for each start.

    Args:
        examples: as `Learned.decode` gives them.
        predicted: ``(n,)`` their property in the user's units, told from their own codes: they are encoded again.
        before: ``(n,)`` that of the starts.
        valid: ``(n,)`` bool: whether they passed the check; True where there was none. What failed is the last that was decoded.
        codes: ``(n, k)`` the codes they were decoded from.
        name: of the column of texts.
        molecules: whether the texts are SMILES, on which there are verdicts.
    """

    examples: Any
    predicted: NDArray[np.float64]
    before: NDArray[np.float64]
    valid: NDArray[np.bool_]
    codes: NDArray[np.float32]
    name: str = "x"
    molecules: bool = False

    def table(self, known: Iterable[str] | None = (), *, by: Judge = "syntax") -> pa.Table:
        """One row for each start: the example's columns, ``predicted`` and ``before``; of molecules also ``valid``, ``unique``, ``novel``.

        Args:
            known: molecules that are not novel, such as the training rows; None if there are none.
            by: who tells valid molecules and sameness, see `data.molecules.judged`.

        Raises:
            DataError: the examples are arrays, which have no columns.
        """
        made = self.examples
        if isinstance(made, list) and all(isinstance(item, str) for item in made):
            made = pa.table({self.name: pa.array(made, pa.string())})
        if not isinstance(made, pa.Table):
            raise DataError("what was found are arrays, which make no table; take .examples and .predicted")
        told = {"predicted": pa.array(self.predicted), "before": pa.array(self.before)}
        if self.molecules:
            verdict = judged(made.column(self.name).to_pylist(), known, by=by)
            told |= {name: verdict.column(name) for name in ("valid", "unique", "novel")}
        for name, values in told.items():
            made = made.append_column(name, values)
        return made


def property_rows(learned: Learned, data: Any, values: ArrayLike, *, seed: int = 0) -> dict[str, Any]:
    """Codes with a property of their examples, which a regressor is fitted to: ``gnomon.fit("regressor", property_rows(…))``.

    Codes are drawn from the posterior where a model has one. A number of the code that tells nothing is then noise, which the regressor
    learns to leave alone; in means it would be a small number that may yet tell something, and would lead a search astray.

    Args:
        learned: a model that can encode.
        data: n examples.
        values: ``(n,)`` or ``(n, 1)`` their property, in any units.
        seed: of the draws.

    Returns:
        ``x`` codes ``(n, k)`` and ``y`` values ``(n, 1)``.

    Raises:
        AbilityError: the model cannot encode.
        DataError: another number of values than of examples, or some that are no finite numbers.
    """
    if "encode" not in learned.abilities:
        raise AbilityError(f"{learned.name} cannot encode, so a property has no codes to be told from; fit a VAE or an autoencoder")
    raw = learned.read(data)
    try:
        y = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the property wants one number for each example; got {str(values)[:60]}") from error
    if y.shape not in ((len(raw),), (len(raw), 1)):
        raise DataError(f"one value for each example is wanted; got an array of shape {y.shape} for {len(raw)} examples")
    y = y.reshape(-1, 1)
    if not np.isfinite(y).all():
        raise DataError(f"the property of example {int(np.argmin(np.isfinite(y[:, 0]))) + 1} is not finite; drop it")
    model = learned.model
    pair, single = getattr(model, "code_draws", None), getattr(model, "draw_codes", None)

    def draw(part: Examples) -> tuple[Tensor]:
        batch = learned.scaling.forward(part.with_(y=None, weight=None)).to(model.device)
        return (pair(batch)[0] if pair else single(batch) if single else model.encode(batch),)  # type: ignore[operator]

    with evaluating(model, model.device):
        (codes,) = each(draw, raw, rows_of(learned.spec.x, learned.spec.given), device=model.device, seed=("property_rows", seed))
    assert isinstance(codes, Tensor)
    return {"x": codes.numpy(), "y": y}


def property_search(
    learned: Learned,
    property: Learned,
    start: Any,
    *,
    least: bool = False,
    steps: int = 60,
    rate: float = 0.2,
    looks: int = 6,
    within: float | None = 0.01,
    valid: Valid | None = None,
    seed: int = 0,
) -> Found:
    """Examples with more of a property, by walking uphill from the codes of given ones.

    Each step goes `rate` far along the gradient of the predicted property (less and less, to nothing at the end), and along the border
    where the prior ends. At some of the steps codes are decoded and what came out is encoded again, so that its property is that of an
    example and not of a code that no example has; the best that passes the check is kept.

    Args:
        learned: a model with encode and decode, such as a VAE.
        property: a regressor with one target, fitted to codes of that model (see `property_rows`).
        start: examples from which it goes uphill, as `fit` reads them; `learned.sample` gives some. Conditions stay theirs.
        least: go downhill instead.
        steps: how many.
        rate: how far the first goes, in units of the code.
        looks: at how many steps, evenly spaced and the last among them, codes are decoded.
        within: the share of the prior's own draws that lie farther out (by density) than codes may go; None sets no border.
        valid: the check: examples as `Learned.decode` gives them to one bool each; None takes `smiles.fault` for molecules, else nothing.
        seed: of the draws that tell where the prior ends.

    Raises:
        AbilityError: the model cannot encode and decode, or has no prior while `within` is set; the property cannot be predicted.
        OptionError: an option out of range, a property of something other than such codes, or a check that gives not one bool each.

    Reference: Gómez-Bombarelli et al. 2018, https://arxiv.org/abs/1610.02415

    Example:
        >>> import gnomon
        >>> x = np.random.default_rng(0).normal(size=(300, 2))
        >>> learned = gnomon.fit("pca", x, options={"components": 2}, progress=False)
        >>> told = gnomon.fit("regressor", property_rows(learned, x, x[:, 0]), epochs=30, progress=False)
        >>> found = property_search(learned, told, x[:3], steps=10, within=None)
        >>> found.examples.shape, bool((found.examples[:, 0] > x[:3, 0]).all())
        ((3, 2), True)
    """
    _check(learned, property, within)
    steps, looks = whole(steps, "steps", least=1), whole(looks, "looks", least=1)
    if not (rate > 0 and np.isfinite(rate)):
        raise OptionError(f"rate wants a positive number; got {rate}")
    raw = learned.read(start)
    if not len(raw):
        raise DataError("a search wants at least one example to start from; got none")
    codes = learned.encode(raw)
    if codes.shape[1] != len(property.spec.x):  # type: ignore[arg-type]
        raise OptionError(f"the property is told from {len(property.spec.x)} numbers; codes of {learned.name} have {codes.shape[1]}")  # type: ignore[arg-type]
    given = None if raw.given is None else Encoded(raw.given)
    best = _Best(property, learned, _check_of(learned) if valid is None else valid)
    for place in _paths(learned, property, codes, raw, (-1.0 if least else 1.0), steps, rate, min(looks, steps), within, seed):
        best.look(learned.decode(place, given), place, least)
    name = getattr(learned.spec.x, "name", "x")
    return Found(best.examples, best.predicted, _told(property, codes), best.valid, best.codes, name, _are_molecules(learned))


class _Best:
    """The best of each start so far."""

    def __init__(self, property: Learned, learned: Learned, valid: Valid | None) -> None:
        self.property, self.learned, self.check = property, learned, valid
        self.examples: Any = None

    def look(self, examples: Any, codes: NDArray[np.float32], least: bool) -> None:
        """Keep those that are valid and better, and in place of what is not valid anything."""
        predicted = _told(self.property, self.learned.encode(examples))
        passed = np.ones(len(codes), dtype=bool) if self.check is None else np.asarray(self.check(examples))
        if passed.shape != (len(codes),) or passed.dtype.kind not in "bi":
            raise OptionError(f"valid wants to give one bool for each of {len(codes)} examples; it gave {passed.dtype} {passed.shape}")
        passed = passed.astype(bool)
        if self.examples is None:
            self.examples, self.predicted, self.valid, self.codes = examples, predicted, passed, codes
            return
        better = predicted < self.predicted if least else predicted > self.predicted
        takes = ~self.valid | (passed & better)
        self.examples = _mixed(takes, examples, self.examples)
        self.predicted, self.codes = np.where(takes, predicted, self.predicted), np.where(takes[:, None], codes, self.codes)
        self.valid = self.valid | passed


def _paths(
    learned: Learned,
    property: Learned,
    codes: NDArray[np.float32],
    raw: Examples,
    sign: float,
    steps: int,
    rate: float,
    looks: int,
    within: float | None,
    seed: int,
) -> Iterator[NDArray[np.float32]]:
    """The codes ``(n, k)`` at each look."""
    model, device = learned.model, learned.model.device
    given = None if raw.given is None else learned.scaling.store(raw.with_(y=None, weight=None)).given
    floor = -math.inf if within is None else _floor(learned, given, len(raw), within, seed)
    looked = {round(steps * (look + 1) / looks) for look in range(looks)}
    place = codes
    for step in range(steps):
        parts = []
        for first in range(0, len(codes), _AT_ONCE):
            rows = slice(first, first + _AT_ONCE)
            condition = None if given is None else given[torch.arange(len(codes))[rows]].to(device)
            with evaluating(model, device), evaluating(property.model, property.model.device), torch.inference_mode(False):
                z = torch.from_numpy(place[rows].copy()).to(device)
                length = rate * (1 - step / steps)
                parts.append(_stepped(z, _height(property, sign), _log_prior(model, condition, within), floor, length).cpu().numpy())
        place = np.concatenate(parts)
        if step + 1 in looked:
            yield place


def _stepped(z: Tensor, height: Callable[[Tensor], Tensor], log_prior: Callable[[Tensor], Tensor], floor: float, length: float) -> Tensor:
    """Codes after one step uphill; past the border the way leads along it, and back to it."""
    with torch.enable_grad():
        z = z.requires_grad_()
        (uphill,) = torch.autograd.grad(height(z).sum(), z)
        density = log_prior(z)
        if floor > -math.inf and not density.requires_grad:
            raise AbilityError("the density of codes has no gradient, as that of a second VAE; pass within=None, or fit density=flow")
        (inward,) = torch.autograd.grad(density.sum(), z) if density.requires_grad else (torch.zeros_like(z),)
    z, lacks = z.detach(), (floor - density.detach()).clamp_min(0)[:, None]
    tiny = torch.finfo(z.dtype).tiny
    squared = inward.square().sum(1, keepdim=True).clamp_min(tiny)
    against = ((uphill * inward).sum(1, keepdim=True) / squared).clamp_max(0)
    uphill = torch.where(lacks > 0, uphill - against * inward, uphill)
    ahead = length * uphill / uphill.norm(dim=1, keepdim=True).clamp_min(tiny)
    back = lacks / squared * inward
    farthest = (back.norm(dim=1, keepdim=True) / max(1.0, 3 * length)).clamp_min(1.0)  # where a density is steep and bent
    return z + ahead + back / farthest


def _height(property: Learned, sign: float) -> Callable[[Tensor], Tensor]:
    """The property of codes in units of its spread, with a gradient."""

    def height(z: Tensor) -> Tensor:
        rows = property.scaling.store(Examples(z.cpu())).to(property.model.device)
        mean, _ = property.model.predict(rows)  # type: ignore[operator]
        return sign * mean[:, 0]

    return height


def _log_prior(model: Any, given: Tensor | Ragged | None, within: float | None) -> Callable[[Tensor], Tensor]:
    """log p(code); 0 everywhere without a border."""
    if within is None:
        return lambda z: z.new_zeros(len(z))
    return lambda z: model.log_prior(z, given)


def _floor(learned: Learned, given: Tensor | Ragged | None, n: int, within: float, seed: int) -> float:
    """The log-density that a share of `within` of the prior's draws do not reach."""
    model: Any = learned.model
    device = model.device
    with evaluating(model, device):
        reseed(mix("property_search", seed), device)
        condition = None if given is None else given[torch.arange(_DRAWS) % n].to(device)
        values = model.log_prior(model.sample_codes(_DRAWS, condition), condition)
    return float(np.quantile(values.cpu().numpy(), within))


def _told(property: Learned, codes: NDArray[Any]) -> NDArray[np.float64]:
    """The property of codes in the user's units, ``(n,)``."""
    return np.asarray(property.predict(codes), dtype=np.float64)


def _mixed(takes: NDArray[np.bool_], new: Any, old: Any) -> Any:
    """Examples of `new` where it takes them, else of `old`."""
    if isinstance(new, pa.Table):
        rows = np.where(takes, np.arange(len(takes)), np.arange(len(takes)) + len(takes))
        return pa.concat_tables([new, old]).take(pa.array(rows))
    if isinstance(new, list):
        return [one if take else other for take, one, other in zip(takes, new, old, strict=True)]
    return np.where(takes.reshape(-1, *([1] * (new.ndim - 1))), new, old)


def _are_molecules(learned: Learned) -> bool:
    return isinstance(learned.spec.x, Tokens) and learned.spec.x.split == "smiles"


def _check_of(learned: Learned) -> Valid | None:
    """The check of molecules, if texts are such."""
    if not _are_molecules(learned):
        return None
    name = learned.spec.x.name  # type: ignore[union-attr]

    def check(made: pa.Table | list[str]) -> list[bool]:
        texts = made.column(name).to_pylist() if isinstance(made, pa.Table) else made
        return [smiles.fault(text) is None for text in texts]

    return check


def _check(learned: Learned, property: Learned, within: float | None) -> None:
    """Raises what `property_search` says it does."""
    for ability in ("encode", "decode"):
        if ability not in learned.abilities:
            raise AbilityError(f"{learned.name} cannot {ability}, so its codes cannot be searched; fit a VAE, or an autoencoder")
    if "predict" not in property.abilities:
        raise AbilityError(f"{property.name} cannot predict a property; fit a regressor to property_rows(learned, data, values)")
    told, codes = property.spec.y, property.spec.x
    if not isinstance(codes, Vector) or not isinstance(told, Vector) or len(told) != 1 or property.spec.given is not None:
        raise OptionError(f"the property wants one number told from codes alone; {property.name} tells {told} from {codes}")
    if within is not None and not 0 < within < 1:
        raise OptionError(f"within is a share of the prior's draws, between 0 and 1; got {within}")
    if within is not None and not hasattr(learned.model, "log_prior"):
        raise AbilityError(f"{learned.name} has no prior of codes to stay in; pass within=None, or fit vae or two_stage")
