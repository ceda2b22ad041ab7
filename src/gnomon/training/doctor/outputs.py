"""What the network gives against what the loss wants: the wrong loss, targets out of reach, first outputs of the wrong size.

Judges the places where predictions meet targets in one look; one line for each fault.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gnomon.training.doctor.watch import RANGES, Layer, Meeting, Watch

OUT_OF_REACH = 0.02  # share of the targets beyond the range of the last activation
TIMES = 10.0  # first outputs against targets, and first cross-entropy against that of guessing
LARGE = 10.0  # root mean square of what the first layer reads; scaled data has 1
LARGE_COLUMN = 30.0
SMALL = 0.01
LARGE_TARGET = 30.0

_LOGITS = {"cross_entropy", "binary_cross_entropy_with_logits"}
_PLAIN = {"sub", "rsub", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss"}

Fault = tuple[str, str]  # kind, sentence


def faults(watch: Watch) -> list[Fault]:
    """Faults of the outputs and of the first layer's inputs, each as (kind, sentence)."""
    found: list[Fault] = []
    for meeting in watch.meetings:
        fault = _wrong_loss(meeting) or _broadcast(meeting) or _unreachable(meeting)
        if fault is not None:
            found.append(fault)
    return found


def first_faults(watch: Watch) -> list[Fault]:
    """Faults that show before the first step only: the sizes of inputs, targets and outputs."""
    found = [] if (fault := _unscaled(watch)) is None else [fault]
    for meeting in watch.meetings:
        fault = _large_target(meeting) or _size(meeting, watch)
        if fault is not None and not found:
            found.append(fault)
    return found


def _wrong_loss(meeting: Meeting) -> Fault | None:
    function, last = meeting.function, meeting.last
    if function in _LOGITS and (last in ("softmax", "sigmoid", "relu", "relu6", "tanh") or _probabilities(meeting)):
        what = f"the output of {last}" if last is not None else "probabilities"
        remedy = f"drop the {last}" if last is not None else "give it the numbers before their softmax"
        return "loss", (
            f"{function} wants logits but is given {what}{_after(meeting)}: the loss cannot get near zero and gradients are faint; {remedy}"
        )
    if function == "nll_loss" and last in ("softmax", "sigmoid"):
        return "loss", f"nll_loss wants log-probabilities but is given the output of {last}{_after(meeting)}; use log_softmax"
    if function in _PLAIN and last == "softmax":
        return (
            "loss",
            f"a softmax{_after(meeting)} meets a squared or absolute error: gradients fade where it is wrong; use cross_entropy on logits",
        )
    return None


def _probabilities(meeting: Meeting) -> bool:
    """Whether each row is a distribution: nothing below zero, and a sum of one."""
    values = meeting.prediction.float()
    if meeting.function != "cross_entropy" or values.ndim < 2 or values.shape[1] < 2 or not torch.isfinite(values).all():
        return False
    return bool(values.min() >= 0) and bool((values.sum(1) - 1).abs().max() < 1e-3)


def _broadcast(meeting: Meeting) -> Fault | None:
    """A column against a row makes a table of all differences: the commonest slip in regression."""
    made, target = tuple(meeting.prediction.shape), tuple(meeting.target.shape)
    if meeting.function not in _PLAIN or min(len(made), len(target)) == 0 or made == target:
        return None
    slip = (
        {len(made), len(target)} == {1, 2} and made[0] == target[0] > 1 and 1 in (made[-1], target[-1]) and meeting.shape[-1:] == made[:1]
    )
    if slip and meeting.function in ("sub", "rsub") or slip and meeting.shape == ():
        return (
            "shapes",
            f"the prediction {made} against the target {target} is spread to {(made[0], made[0])}: every row meets every other; "
            f"give both one shape",
        )
    return None


def _unreachable(meeting: Meeting) -> Fault | None:
    low, high = RANGES.get(meeting.last or "", (-math.inf, math.inf))
    if meeting.function == "binary_cross_entropy":
        low, high = 0.0, 1.0
    if (low, high) == (-math.inf, math.inf) or not meeting.target.is_floating_point() or meeting.function in ("cross_entropy", "nll_loss"):
        return None
    target = meeting.target.float()
    slack = 1e-3 * (high - low if math.isfinite(high - low) else 1.0)
    beyond = float(((target < low - slack) | (target > high + slack)).float().mean())
    if beyond <= OUT_OF_REACH:
        return None
    name = meeting.last or meeting.function
    return "reach", (
        f"{100 * beyond:.0f} % of the targets ({float(target.min()):.3g} to {float(target.max()):.3g}) are out of reach of the last "
        f"{name}{_after(meeting)}, which gives {low:g} to {high:g}; drop the {name} or bring the targets into its range"
    )


def _unscaled(watch: Watch) -> Fault | None:
    first = next((layer for layer in watch.layers if layer.own), None)
    if first is None or first.input is None or first.function == "embedding" or not first.input.numel():
        return None
    values = first.input.float()
    columns = values.square().movedim(1 if first.function.startswith("conv") else -1, -1).flatten(0, -2).mean(0).sqrt()
    whole, largest, at = float(columns.square().mean().sqrt()), float(columns.max()), int(columns.argmax())
    if not math.isfinite(whole):
        return None
    where = f"what layer '{first.name}' reads"
    if whole > LARGE or largest > LARGE_COLUMN:
        which = f" (most in its column {at})" if len(columns) > 1 else ""
        return "inputs", f"{where} is unscaled: of size {whole:.3g}{which} where about 1 is good; standardise it (mean 0, spread 1)"
    if 0 < whole < SMALL:
        return "inputs", f"{where} is unscaled: of size {whole:.3g} where about 1 is good; standardise it (mean 0, spread 1)"
    return None


def _large_target(meeting: Meeting) -> Fault | None:
    if meeting.function not in _PLAIN or meeting.role != "y":
        return None
    size = float(meeting.target.float().square().mean().sqrt())
    if math.isfinite(size) and size > LARGE_TARGET:
        return "targets", f"the targets are unscaled: of size {size:.3g} where about 1 is good; standardise them"
    return None


def _size(meeting: Meeting, watch: Watch) -> Fault | None:
    """First outputs that are far larger than what they should be."""
    prediction = meeting.prediction.float()
    if meeting.function in _PLAIN:
        wanted, got = float(meeting.target.float().square().mean().sqrt()), float(prediction.square().mean().sqrt())
        if math.isfinite(got) and wanted > 0 and got > TIMES * wanted:
            return "outputs", (
                f"the first outputs are of size {got:.3g} where the targets are of size {wanted:.3g}{_loudest(watch)}: the initial "
                f"weights are "
                "too large; initialise with standard deviation 1/sqrt(inputs)"
            )
    if meeting.function == "cross_entropy" and prediction.ndim == 2 and not meeting.target.is_floating_point() and prediction.shape[1] > 1:
        first = float(torch.nn.functional.cross_entropy(prediction, meeting.target))
        guess = math.log(prediction.shape[1])
        if math.isfinite(first) and first > TIMES * guess:
            return "outputs", (
                f"the first cross-entropy is {first:.3g} where guessing gives {guess:.3g}{_loudest(watch)}: the initial weights are "
                f"too large; "
                "initialise with standard deviation 1/sqrt(inputs)"
            )
    return None


def _loudest(watch: Watch) -> str:
    """Which layer adds most, where one can be named."""
    factors = [(_factor(layer), layer.name) for layer in watch.layers if layer.own and layer.input is not None]
    factor, name = max(factors, default=(0.0, ""))
    return f" (layer '{name}' multiplies by {factor:.3g})" if factor > 2 else ""


def _factor(layer: Layer) -> float:
    assert layer.input is not None
    read = float(_square(layer.input))
    return (float(_square(layer.output)) / read) ** 0.5 if read > 0 else 0.0


def _square(values: Tensor) -> Tensor:
    return values.float().square().mean()


def _after(meeting: Meeting) -> str:
    return f" (after layer '{meeting.layer}')" if meeting.layer else ""
