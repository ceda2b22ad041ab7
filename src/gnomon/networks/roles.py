"""What the constructors of all networks share: roles, what goes in and comes out, widths by the dial `size`.

The networks themselves are in `vectors`, `images`, `sets`; names are resolved in `factory`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gnomon.blocks import ColumnFeatures
from gnomon.data import Image, Set, Tokens, Vector
from gnomon.errors import OptionError

Role = Literal["encoder", "decoder", "mapper"]
ROLES: tuple[Role, ...] = ("encoder", "decoder", "mapper")


class Ports(NamedTuple):
    """What a network takes and gives.

    Args:
        features: reads the columns, or None where the network is handed features (or a code) already.
        inputs: numbers (of an image, channels; of a set, numbers per element) that go in.
        outputs: numbers (of an image written, channels) that come out.
    """

    features: ColumnFeatures | None
    inputs: int
    outputs: int


def ports(network: str, kind: Vector | Image | Set | Tokens, role: str, inputs: int | None, outputs: int | None) -> Ports:
    """The inputs and outputs of a network, filled in from the kind where they follow from it.

    An encoder or mapper reads the columns of `kind` unless `inputs` tells how many features it is handed instead; a decoder or
    mapper writes one number per column (channel) unless `outputs` tells otherwise.

    Args:
        network: what the network is called, for messages.
        kind: the kind of data it reads or writes.
        role: "encoder", "decoder" or "mapper".
        inputs: as passed by the caller.
        outputs: as passed by the caller.

    Raises:
        OptionError: an unknown role, or a size that does not follow from the kind is missing or below one.

    Example:
        >>> ports("mlp", Vector.real(3), "encoder", None, 2)[1:]
        (3, 2)
    """
    if role not in ROLES:
        raise OptionError(f"a network is an encoder, a decoder or a mapper; got role {role!r}")
    element = kind.of if isinstance(kind, Set) else kind
    if isinstance(kind, Tokens) or (isinstance(kind, Set) and role == "decoder"):
        return _of_likelihood(network, kind, role, inputs, outputs)
    assert not isinstance(element, Tokens)
    features = None
    if inputs is None:
        if role == "decoder":
            raise OptionError(f"network '{network}' as a decoder needs inputs=…, the size of the code it decodes")
        features = ColumnFeatures(element)
        inputs = features.outputs
    if outputs is None:
        if role == "encoder":
            raise OptionError(f"network '{network}' as an encoder needs outputs=…, the size of the code it gives")
        outputs = element.channels if isinstance(element, Image) else len(element)
    if inputs < 1 or outputs < 1:
        raise OptionError(f"network '{network}' needs at least one input and one output; got inputs={inputs}, outputs={outputs}")
    return Ports(features, inputs, outputs)


def _of_likelihood(network: str, kind: Set | Tokens, role: str, inputs: int | None, outputs: int | None) -> Ports:
    """Of a decoder that gives the parameters of a likelihood of sets or texts."""
    if role != "decoder" or not inputs or not outputs:
        raise OptionError(f"network '{network}' serves a {type(kind).__name__} only as a decoder with inputs=… and outputs=…")
    return Ports(None, inputs, outputs)


def scaled(width: int, size: float, *, multiple: int = 1) -> int:
    """`width` times the dial `size`, at least `multiple` and divisible by it.

    Raises:
        OptionError: `size` is not above zero.

    Example:
        >>> scaled(32, 0.3, multiple=4)
        8
    """
    if not size > 0:
        raise OptionError(f"size multiplies the widths of a network and must be above 0; got {size}")
    return max(1, round(width * size / multiple)) * multiple


def beside(x: Tensor, given: Tensor | None, size: int) -> Tensor:
    """``(n, k)`` numbers and the ``(n, size)`` condition side by side.

    Raises:
        OptionError: the network was built for a condition and none came.
    """
    if size == 0:
        return x
    return torch.cat([x, present(given, size)], -1)


def present(given: Tensor | None, size: int) -> Tensor:
    """The condition a network was built for. Raises OptionError if none came."""
    if given is None:
        raise OptionError(f"this network was built with given={size} but got no condition; pass Condition(...)'s output")
    return given
