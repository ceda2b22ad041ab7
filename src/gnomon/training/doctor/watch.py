"""Takes note of what a loss computes, call by call: layers, activations, and where predictions meet targets.

It sees torch's functions themselves, so a layer written as a module and one written as a function look the same. What the notes
mean is judged elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

INFINITY = math.inf
RANGES = {
    "relu": (0.0, INFINITY), "relu6": (0.0, 6.0), "softplus": (0.0, INFINITY), "sigmoid": (0.0, 1.0), "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0), "hardtanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "softmax": (0.0, 1.0), "log_softmax": (-INFINITY, 0.0),
    "logsigmoid": (-INFINITY, 0.0),
}  # fmt: skip
"""What an activation can give."""

ACTIVATIONS = {*RANGES, "silu", "gelu", "elu", "selu", "leaky_relu", "prelu", "arctan", "atan", "mish", "hardswish"}
LAYERS = {
    "linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "matmul", "mm", "addmm", "bmm", "baddbmm", "einsum", "embedding",
}  # fmt: skip
NORMS = {"batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"}
SHAPING = {
    "view", "reshape", "squeeze", "unsqueeze", "flatten", "permute", "transpose", "contiguous", "float", "double", "to", "clone",
    "unflatten", "movedim", "getitem", "expand", "type_as", "t", "view_as", "reshape_as", "dropout", "ravel",
    "one_hot", "gt", "ge", "lt", "le", "eq", "ne",
}  # fmt: skip
"""Functions whose result holds the very values of their first argument (or, of classes, the same in another form)."""

MEETING = {
    "sub", "rsub", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "cross_entropy", "nll_loss",
}  # fmt: skip
"""Functions in which a prediction meets its target."""

Names = Mapping[int, str]


@dataclass(frozen=True, eq=False)
class Layer:
    """One call of a layer.

    Args:
        name: of the layer, from its weight's name.
        own: whether the weight belongs to the player that is watched.
        function: torch's name of it.
        input: what went in, or None where it is no tensor of numbers.
        output: what came out.
        live: what came out, still in the graph; None where a transform of torch.func hides it.
    """

    name: str
    own: bool
    function: str
    input: Tensor | None
    output: Tensor
    live: Tensor | None


@dataclass(frozen=True, eq=False)
class Activation:
    """One call of an activation.

    Args:
        function: torch's name of it, "relu".
        layer: the layer before it, "" if there was none.
        own: whether that layer belongs to the player that is watched.
        axis: of the units: 1 after a convolution, else -1.
        input: what went in (already overwritten, if the call was in place).
        output: what came out.
        place: how many layers were called before.
    """

    function: str
    layer: str
    own: bool
    axis: int
    input: Tensor
    output: Tensor
    place: int


@dataclass(frozen=True, eq=False)
class Meeting:
    """A prediction and its target in one function.

    Args:
        function: torch's name of it; "sub" for a difference.
        prediction: made by the network.
        target: of the batch.
        role: of the target in the batch, "y" or "x", "" where it was made of them.
        last: the activation that gave the prediction, or None.
        layer: the layer before, "" if there was none.
        shape: of the result.
    """

    function: str
    prediction: Tensor
    target: Tensor
    role: str
    last: str | None
    layer: str
    shape: tuple[int, ...]


class Watch(TorchFunctionMode):
    """Inside the block, calls of torch are noted.

    Args:
        weights: name of the layer by ``id`` of its weight.
        own: ids of the weights of the player that is watched.
        roles: name of the role by ``id`` of a tensor of the batch that may be a target.
        hunt: also find the first call that makes a value that is not finite (waits for the device at every call).
    """

    def __init__(self, weights: Names, own: frozenset[int], roles: Names, *, hunt: bool = False) -> None:
        super().__init__()
        self.layers: list[Layer] = []
        self.activations: list[Activation] = []
        self.meetings: list[Meeting] = []
        self.culprit: tuple[str, str] | None = None  # function and layer that made the first value that is not finite
        self._weights, self._own, self._hunt = weights, own, hunt
        self._roles = dict(roles)
        self._last: dict[int, str] = {}  # activation by id of the tensor it gave
        self._kept: list[Any] = []  # so that no id is used twice
        self._layer, self._layer_own, self._axis = "", False, -1

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return func(*args, **kwargs)
        name = name.strip("_")
        if self._hunt:
            return self._hunting(func, name, args, kwargs)
        self._find_layer(args, kwargs)
        before = args[0] if name in ACTIVATIONS and args else None
        out = func(*args, **kwargs)
        if isinstance(out, Tensor):
            if name == "clamp" or name == "clamp_min":
                name, before = _as_relu(args, kwargs) or name, args[0]
            self._note(name, args, kwargs, out, before)
        return out

    def _note(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Tensor, before: Any) -> None:
        if name in LAYERS:
            self._note_layer(name, args, out)
        elif name in ACTIVATIONS and isinstance(before, Tensor):
            plain, made = _plain(before), _plain(out)
            if plain is not None and made is not None:
                self.activations.append(Activation(name, self._layer, self._layer_own, self._axis, plain, made, place=len(self.layers)))
            self._keep(out)
            self._last[id(out)] = name
        elif name in SHAPING and args:
            first = args[0]
            for known in (self._roles, self._last):
                if id(first) in known:
                    known[id(out)] = known[id(first)]
                    self._keep(out)
        elif name in MEETING:
            self._note_meeting(name, args, kwargs, out)

    def _note_layer(self, name: str, args: tuple[Any, ...], out: Tensor) -> None:
        tensors = [a for a in args if isinstance(a, Tensor) and id(a) not in self._weights]
        made = _plain(out)
        if not self._layer or made is None or not made.is_floating_point():
            return
        read = _plain(tensors[0]) if tensors else None
        self._axis = 1 if name.startswith("conv") else -1
        self.layers.append(
            Layer(
                self._layer,
                self._layer_own,
                name,
                read if read is not None and read.is_floating_point() else None,
                made,
                out if out.requires_grad and not torch._C._functorch.is_functorch_wrapped_tensor(out) else None,
            )  # fmt: skip
        )

    def _note_meeting(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Tensor) -> None:
        both = [*args[:2], *(kwargs[k] for k in ("input", "target", "other") if k in kwargs)][:2]
        if len(both) < 2 or not all(isinstance(b, Tensor) for b in both):
            return
        first, second = both
        if id(first) in self._roles and id(second) not in self._roles:
            first, second = second, first
        # A difference may be anything; the second argument of a loss is its target, unless it learns too.
        known = id(second) in self._roles or (name not in ("sub", "rsub") and not second.requires_grad)
        if not known or id(first) in self._roles or id(first) in self._weights:
            return
        prediction, target = _plain(first), _plain(second)
        if prediction is None or target is None or not first.requires_grad:
            return
        role = self._roles.get(id(second), "")
        self.meetings.append(Meeting(name, prediction, target, role, self._last.get(id(first)), self._layer, tuple(out.shape)))

    def _find_layer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        for value in args if not kwargs else (*args, *kwargs.values()):
            name = self._weights.get(id(value))
            if name is not None:
                self._layer, self._layer_own = name, id(value) in self._own
                return

    def _hunting(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._find_layer(args, kwargs)
        sound = self.culprit is None and all(_finite(a) for a in (*args, *kwargs.values()))
        out = func(*args, **kwargs)
        if sound and not _finite(out) and name not in ("full_like", "full", "new_full", "tensor", "masked_fill", "where"):
            self.culprit = (name, self._layer)
        return out

    def _keep(self, value: Any) -> None:
        self._kept.append(value)


def _as_relu(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return "relu" if isinstance(low, (int, float)) and low == 0 and high is None else None


def _plain(value: Any) -> Tensor | None:
    """The values of a tensor, also inside `torch.func.grad`; None inside `vmap`, where one axis is hidden."""
    if not isinstance(value, Tensor):
        return None
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            return None
        value = functorch.get_unwrapped(value)
    return value.detach()


def _finite(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_finite(v) for v in value)
    plain = _plain(value)
    return plain is None or not plain.is_floating_point() or bool(torch.isfinite(plain).all())
