"""Small encoders trained on real rows: a classifier of the user's labels, an autoencoder, or a classifier of spoilt sets.

How many steps they train follows from a budget in seconds by a fixed cost model; no clock is read. Which rows may train them, and
what is done with their features, is decided in `features` and `labelling`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

from gnomon.checks.sides import Floats
from gnomon.data import Categorical, Column, Examples, Image, Label, Periodic, Ragged, Real, Set, Spec, Vector, as_table, decode, mix
from gnomon.errors import DataError
from gnomon.learned import Learned
from gnomon.learned.chunks import each, evaluating, rows_of
from gnomon.models import Model

Rows = torch.Tensor | Ragged
"""Examples as numbers: ``(n, columns)``, images ``(n, channels, *size)``, or sets."""

WIDTH = 32
"""Features per example that a classifier gives."""

CODE = 24
"""Features per example that an autoencoder gives."""

LONGEST = {1: 512, 2: 32, 3: 12}
"""Images with longer axes are averaged down before a classifier sees them; an autoencoder, which is slower, sees half as much."""

_STEPS = (40, 800)
_CHUNK = 4096  # examples encoded at once


def classifier_of(kind: Vector | Image | Set, rows: Rows, label: Label, codes: NDArray[np.intp], *, seconds: float, seed: int) -> Learned:
    """A classifier of the user's labels.

    Args:
        kind: what one example is.
        rows: the examples that train it.
        label: the classes.
        codes: ``(n,)`` the class of each.
        seconds: about how long training may take on one core.
        seed: of everything random.
    """
    from gnomon.models.classifier import Classifier

    shown = shown_as(kind)
    names = shown.names if isinstance(shown, Vector) else shown.of.names if isinstance(shown, Set) else ()
    while label.name in names:
        label = replace(label, name=f"{label.name}'")
    spec = Spec(shown, y=label)
    net: dict[str, Any] = {"hidden": (64, WIDTH)}
    if isinstance(shown, Image):
        net = {"width": 32, "depth": 1, "hidden": (WIDTH,), "pool": "flatten"}
    if isinstance(shown, Set):
        net = {"element": (64, 64), "hidden": (64, WIDTH)}
    data = _readable(shown, prepared_for(shown, rows), label, codes)
    batch, rate = (32, 1e-2) if isinstance(shown, Image) else (64, 3e-3)
    plan = Plan(_steps(seconds, _classifying(shown, rows, batch)), batch, rate, seed)
    return _fitted(lambda: Classifier(spec, shift=0.0, net=net), data, len(rows), plan, kind)


def autoencoder_of(kind: Image, rows: torch.Tensor, *, seconds: float, seed: int) -> Learned:
    """An autoencoder of images with a short code; the arguments are those of `classifier_of`."""
    from gnomon.models.autoencoder import Autoencoder

    shown = shown_as(kind, share=0.5)
    pixels = math.prod(shown.shape)
    plan = Plan(_steps(seconds, 0.007 + 0.5e-6 * 32 * pixels), 32, 5e-3, seed)
    code = min(CODE, max(1, pixels // 2))
    net = {"width": 32, "depth": 1, "pool": "flatten"}
    data = _readable(shown, prepared_for(shown, rows))
    return _fitted(lambda: Autoencoder(Spec(shown), latent=code, net=net), data, len(rows), plan, kind)


def spoilt_sets(kind: Set, sets: Ragged, generator: np.random.Generator) -> tuple[Ragged, NDArray[np.intp]]:
    """Sets as they are (0), with elements exchanged for those of other sets (1), and with a column shuffled inside each set (2).

    Args:
        kind: what the elements are.
        sets: n sets.
        generator: source of chance.

    Returns:
        2 n or, where elements have several columns, 3 n sets, and what was done to each.
    """
    values, lengths = sets.values, sets.lengths
    total = len(values)
    share = np.repeat(generator.uniform(0.3, 1.0, size=len(sets)), lengths.numpy())
    other = torch.from_numpy(generator.integers(0, max(1, total), size=total))
    exchanged = torch.where(torch.from_numpy(generator.random(total) < share)[:, None], values[other] if total else values, values)
    parts, done = [values, exchanged], [0, 1]
    if len(kind.of) > 1:
        rows = np.repeat(np.arange(len(sets)), lengths.numpy())
        order = torch.from_numpy(np.lexsort((generator.random(total), rows)))  # a random order inside each set
        column = torch.from_numpy(np.repeat(generator.integers(0, len(kind.of), size=len(sets)), lengths.numpy()))
        chosen = torch.arange(len(kind.of))[None, :] == column[:, None]
        parts, done = [*parts, torch.where(chosen, values[order], values)], [*done, 2]
    return Ragged.cat([Ragged(part, lengths) for part in parts]), np.repeat(done, len(sets))


def set_encoder_of(kind: Set, sets: Ragged, *, seconds: float, seed: int) -> Learned:
    """A classifier that tells sets as they are from spoilt copies of them; the arguments are those of `classifier_of`."""
    both, done = spoilt_sets(kind, sets, np.random.default_rng([mix("check", "spoilt", seed), seed & 0xFFFFFFFF]))
    label = Label(("whole", "exchanged", "shuffled")[: int(done.max(initial=0)) + 1], "state", "string")
    return classifier_of(kind, both, label, done, seconds=seconds, seed=seed)


# ---- using an encoder ------------------------------------------------------------------------------------------------


def features_by(learned: Learned, kind: Any, rows: Rows) -> Floats:
    """``(n, k)`` features of examples: the code of a model that encodes, or what a classifier makes its logits from.

    Args:
        learned: the encoder.
        kind: what one example is, on this side.
        rows: the examples, as numbers in the user's units.

    Raises:
        DataError: the encoder was made for other examples, or gives numbers that are not finite.
    """
    if "encode" in learned.abilities:
        made = _by_parts(rows, lambda part: learned.encode(Examples(_fitting(learned, kind, part))))
    else:
        made = _by_parts(rows, lambda part: _before_the_head(learned, _fitting(learned, kind, part)))
    if not np.isfinite(made).all():
        raise DataError(f"the features of {learned.name} are not finite for some rows; pass another encoder, or features=None")
    return made


def probabilities_by(learned: Learned, kind: Any, rows: Rows) -> Floats:
    """``(n, classes)`` class probabilities of examples by a classifier; as `features_by`."""
    return _by_parts(rows, lambda part: learned.predict(Examples(_fitting(learned, kind, part)), proba=True))


def digests(rows: Rows) -> list[str]:
    """16 hexadecimal digits per example by which it is known again, whatever type its numbers have."""
    parts = rows.split() if isinstance(rows, Ragged) else list(rows)
    return [hashlib.blake2b(part.double().numpy().tobytes(), digest_size=8).hexdigest() for part in parts]


def shown_as(kind: Any, *, share: float = 1.0) -> Any:
    """The kind as an encoder reads it: plain reals (but categories and angles as they are), images of real pixels and modest size.

    So an encoder takes rows of either side, whatever support they stray from.

    Args:
        kind: a Vector, an Image or a Set.
        share: of `LONGEST`, that axes of images may have.
    """
    if isinstance(kind, Image):
        longest = LONGEST.get(kind.dimension, 12) * share
        size = tuple(math.ceil(n / math.ceil(n / longest)) for n in kind.size)
        return Image(kind.channels, size, None, "first")
    if isinstance(kind, Set):
        return Set(shown_as(kind.of))
    free = [c if isinstance(c.support, (Categorical, Periodic)) else Column(c.name, Real()) for c in kind.columns]
    return Vector(tuple(free), bare=False)


def prepared_for(shown: Any, rows: Rows) -> Rows:
    """Examples as `shown` (what `shown_as` gave) describes them: real pixels, averaged down where axes are long."""
    if not isinstance(shown, Image) or not isinstance(rows, torch.Tensor):
        return rows
    pixels, size = rows.float(), tuple(shown.size)
    if size == tuple(rows.shape[2:]):
        return pixels
    pools: tuple[Callable[..., torch.Tensor], ...] = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
    return pools[len(size) - 1](pixels, size)


def vector_of(kind: Any) -> Vector:
    """The columns of a table, or of the elements of sets."""
    made = kind.of if isinstance(kind, Set) else kind
    assert isinstance(made, Vector)
    return made


@dataclass(frozen=True)
class Made:
    """What an encoder's run remembers of how it came about, in ``decisions["features"]``.

    Args:
        size: extent of the images it was made for, before they were averaged down; empty for others.
        steps: steps that it was trained.
        digests: of the rows that trained it.
    """

    size: tuple[int, ...] = ()
    steps: int = 0
    digests: tuple[str, ...] = ()

    @classmethod
    def of(cls, learned: Learned) -> Made:
        """What `learned` remembers; nothing if it was not made here."""
        told = (learned.info.get("decisions") or {}).get("features") or {}
        return cls(tuple(told.get("size", ())), int(told.get("steps", 0)), tuple(told.get("digests", ())))


def remember(learned: Learned, made: Made) -> None:
    """Write into the run of an encoder how it came about."""
    decisions = {**(learned.info.get("decisions") or {}), "features": vars(made)}
    learned.info = {**learned.info, "decisions": decisions}


# ---- parts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How an encoder is trained.

    Args:
        steps: about how many.
        batch: examples a step.
        rate: learning rate at the start.
        seed: of everything random.
    """

    steps: int
    batch: int
    rate: float
    seed: int


def _fitted(build: Callable[[], Model], data: Any, rows: int, plan: Plan, kind: Any) -> Learned:
    """Train a model that `build` makes."""
    from gnomon.training import fit, randomness

    batch = min(plan.batch, rows)
    epochs = max(1, round(plan.steps / (rows // batch)))
    seed = mix("check", "encoder", plan.seed)
    with randomness.borrowed(seed, torch.device("cpu")):
        model = build()
    learned = fit(
        model, data, validation=0, epochs=epochs, batch_size=batch, seed=seed, device="cpu", progress=False, lr=plan.rate,
        average=None, compile="off",
    )  # fmt: skip
    size = tuple(kind.size) if isinstance(kind, Image) else ()
    remember(learned, Made(size, epochs * (rows // batch)))
    return learned


def _steps(seconds: float, each_step: float) -> int:
    """How many steps fit into so many seconds, in two figures."""
    planned = max(1.0, seconds / each_step)
    step = 10 ** max(0, math.floor(math.log10(planned)) - 1)
    return int(min(_STEPS[1], max(_STEPS[0], planned // step * step)))


def _classifying(kind: Any, rows: Rows, batch: int) -> float:
    """Seconds of one step of a classifier on one core, as measured on a small machine."""
    if isinstance(kind, Image):
        return 0.0035 + 0.2e-6 * batch * math.prod(kind.shape)
    if isinstance(rows, Ragged):
        return 0.001 + 0.6e-6 * (2 + len(kind.of)) * batch * float(rows.lengths.double().mean())
    return 0.0015


def _readable(kind: Any, rows: Rows, label: Label | None = None, codes: NDArray[np.intp] | None = None) -> Any:
    """Numbers as data that `fit` reads: arrays by role for images, else a table."""
    known = None if label is None else torch.from_numpy(np.asarray(codes, dtype=np.int64))
    if isinstance(kind, Image):
        assert isinstance(rows, torch.Tensor)
        data = {"x": rows.numpy()}
        return data if label is None or known is None else data | {"y": decode(label, known)}
    table = as_table(kind, rows)
    return table if label is None or known is None else table.append_column(label.name, as_table(label, known)[label.name])


def _by_parts(rows: Rows, work: Any) -> Floats:
    made = [np.asarray(work(rows[start : start + _CHUNK]), dtype=np.float64) for start in range(0, len(rows), _CHUNK)]
    return np.concatenate(made)


def _before_the_head(learned: Learned, rows: Rows) -> NDArray[Any]:
    from gnomon.models.classifier import Classifier

    model = learned.model
    assert isinstance(model, Classifier)
    device = model.device

    def work(part: Examples) -> tuple[torch.Tensor]:
        return (model.features(learned.scaling.forward(part).to(device)),)

    with evaluating(model, device):
        (made,) = each(work, Examples(rows), rows_of(learned.spec.x), device=device)
    assert isinstance(made, torch.Tensor)
    return made.detach().numpy()


def _fitting(learned: Learned, kind: Any, rows: Rows) -> Rows:
    """The examples as the encoder's run describes them. Raises DataError if it was made for others."""
    wanted, made = learned.spec.x, Made.of(learned)
    if isinstance(kind, Image) and isinstance(wanted, Image):
        assert isinstance(rows, torch.Tensor)
        if made.size == tuple(kind.size) and wanted.channels == kind.channels:
            return prepared_for(wanted, rows)
        if wanted.shape == kind.shape:
            from gnomon.data.encoding.images import encode_images

            return encode_images(rows.numpy(), replace(wanted, layout="first"), place="features: ")
        raise DataError(f"the encoder of features reads images of shape {wanted.shape}; these have {kind.shape}")
    if type(wanted) is not type(kind):
        raise DataError(f"the encoder of features reads a {type(wanted).__name__.lower()}; these are {type(kind).__name__.lower()}s")
    theirs, ours = (vector_of(k) for k in (wanted, kind))
    same = theirs.names == ours.names and all(
        a.support == b.support
        for a, b in zip(theirs.columns, ours.columns, strict=True)
        if isinstance(a.support, Categorical) or isinstance(b.support, Categorical)
    )
    if not same:
        raise DataError(f"the encoder of features reads the columns {', '.join(theirs.names)}; these are {', '.join(ours.names)}")
    return rows
