"""Building a network by role and kind of data, with a good default for each and one dial, `size`.

The names are those of `gnomon.registry.networks`; the networks are in `vectors`, `images` and `sets`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from gnomon.data import Image, Kind, Sequence, Set, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.networks.roles import ROLES
from gnomon.options import parse, signature
from gnomon.registry import networks

DEFAULTS: dict[tuple[str, type], str] = {
    ("encoder", Vector): "mlp",
    ("decoder", Vector): "mlp",
    ("mapper", Vector): "mlp",
    ("encoder", Image): "conv",
    ("decoder", Image): "deconv",
    ("mapper", Image): "unet",
    ("encoder", Set): "deepsets",
    ("encoder", Sequence): "recurrent",
    ("decoder", Set): "mlp",
    ("encoder", Tokens): "recurrent",
    ("decoder", Tokens): "mlp",
    ("mapper", Tokens): "recurrent",
}
"""The network for each (role, kind) when none is named."""

WIRING = ("inputs", "outputs", "given", "size")
"""What the caller of `make` decides; every other keyword of a network is an option of the user's."""


def make(
    role: str,
    kind: Kind,
    name: str | nn.Module | None = None,
    *,
    given: int = 0,
    size: float = 1.0,
    inputs: int | None = None,
    outputs: int | None = None,
    net: Mapping[str, Any] | None = None,
    **options: Any,
) -> nn.Module:
    """A network for `role` and `kind`.

    Args:
        role: "encoder" (example → vector), "decoder" (vector → example) or "mapper" (example → example of the same size).
        kind: the kind of data it reads or writes.
        name: name in `gnomon list networks`; an `nn.Module` is used as it is; None takes the default for the role and kind.
        given: size of the condition vector, `Condition.outputs`.
        size: factor on the widths.
        inputs: for a decoder, the size of the code; for others, the number of features (channels) handed in, where these are not
            the columns (channels) of `kind`.
        outputs: for an encoder, the size of the vector; for others, numbers (channels) written, where not one per column (channel).
        net: the network's own options, by name; texts such as ``"32,32"`` are understood.
        options: the same, as keywords.

    Raises:
        OptionError: an unknown name, role or option, or a network that cannot take the role for the kind.

    Example:
        >>> from gnomon.data import Vector
        >>> network = make("encoder", Vector.real(3), outputs=2, hidden="32,32")
        >>> sum(p.numel() for p in network.parameters())
        1250
    """
    own = {**(net or {}), **options}
    if isinstance(name, nn.Module):
        if own:
            raise OptionError(f"option '{next(iter(own))}' has no effect on a network passed as a module; set it where the module is built")
        return name
    name, network = _find(role, kind, name)
    for key in own:
        if key in WIRING:
            raise OptionError(f"'{key}' of network '{name}' follows from the data and the model; it is no option of the network")
    return network(kind, role, inputs=inputs, outputs=outputs, given=given, size=size, **parse(network, own, name=f"network '{name}'"))


def options_of(role: str, kind: Kind, name: str | None = None) -> dict[str, inspect.Parameter]:
    """The options of the network that `make` would build: name to parameter (with type and default), in order.

    Raises:
        OptionError: as `make`.

    Example:
        >>> from gnomon.data import Vector
        >>> list(options_of("encoder", Vector.real(3)))
        ['hidden', 'activation', 'dropout', 'norm', 'initialiser']
    """
    return {key: parameter for key, parameter in signature(_find(role, kind, name)[1]).items() if key not in WIRING}


def shared_out(net: Mapping[str, Any], kind: Kind, named: Mapping[str, str | nn.Module | None]) -> dict[str, dict[str, Any]]:
    """Options meant for several networks: to each those it knows; what none knows goes to the first, which will say so.

    Args:
        net: the options, by name.
        kind: the kind of data.
        named: role to the name (or module, or None) of its network.

    Example:
        >>> from gnomon.data import Image
        >>> shared_out({"mode": "linear", "width": 8}, Image(1, (8, 8)), {"encoder": None, "decoder": None})
        {'encoder': {'width': 8}, 'decoder': {'mode': 'linear', 'width': 8}}
    """
    known = {role: () if isinstance(name, nn.Module) else tuple(options_of(role, kind, name)) for role, name in named.items()}
    own = {role: {key: value for key, value in net.items() if key in keys} for role, keys in known.items()}
    strays = {key: value for key, value in net.items() if not any(key in keys for keys in known.values())}
    first = next(iter(named))
    return own | {first: own[first] | strays}


def _find(role: str, kind: Kind, name: str | None) -> tuple[str, Any]:
    """The name and class of the network for the role and kind. Raises OptionError if there is none."""
    if role not in ROLES:
        raise OptionError(f"a network is an encoder, a decoder or a mapper; got role {role!r}")
    thing = type(kind).__name__
    if name is None:
        if (role, type(kind)) not in DEFAULTS:
            raise OptionError(f"no network serves as {role} of {thing}; pass an nn.Module of your own")
        name = DEFAULTS[role, type(kind)]
    network = networks[name]
    roles = getattr(network, "roles", None)
    if roles is not None and not isinstance(kind, roles.get(role, ())):
        others = [other for other in networks if isinstance(kind, getattr(networks[other], "roles", {}).get(role, ()))]
        raise OptionError(f"network '{name}' does not serve as {role} of {thing}; use {' or '.join(others) or 'an nn.Module of your own'}")
    return name, network
