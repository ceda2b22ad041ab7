"""`make`: defaults, the dial, options and errors that say what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gnomon.data import Image, Label, Ragged, Sequence, Set, Tokens, Vector
from gnomon.errors import OptionError
from gnomon.networks import DEFAULTS, ConvDecoder, ConvEncoder, DeepSets, RecurrentNetwork, UNet, VectorNetwork, make, options_of
from gnomon.registry import networks

IMAGE, VECTOR, SET, TOKENS = Image(1, (8, 8)), Vector.real(3), Set(Vector.real(3)), Tokens(("a", "b"))
SEQUENCE = Sequence(Vector.real(3))
EXAMPLES = {Vector: VECTOR, Image: IMAGE, Set: SET, Sequence: SEQUENCE, Tokens: TOKENS}
SIZES: dict[str, dict[str, int]] = {"encoder": {"outputs": 5}, "decoder": {"inputs": 5}, "mapper": {}}


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("role", "kind", "expected"),
    [
        *((role, VECTOR, VectorNetwork) for role in SIZES),
        ("encoder", IMAGE, ConvEncoder),
        ("decoder", IMAGE, ConvDecoder),
        ("mapper", IMAGE, UNet),
        ("encoder", SET, DeepSets),
        ("encoder", SEQUENCE, RecurrentNetwork),
        ("encoder", TOKENS, RecurrentNetwork),
        ("mapper", TOKENS, RecurrentNetwork),
    ],
)
def test_each_role_and_kind_has_its_default(role: str, kind: object, expected: type) -> None:
    assert type(make(role, kind, **SIZES[role])) is expected


@pytest.mark.parametrize(("role", "kind"), [(role, EXAMPLES[kind]) for role, kind in DEFAULTS])
def test_size_multiplies_widths(role: str, kind: object) -> None:
    sizes = SIZES[role] | ({"outputs": 9} if role == "decoder" and kind in (SET, TOKENS) else {})
    counts = [parameters(make(role, kind, size=size, **sizes)) for size in (0.25, 0.5, 1.0, 2.0)]
    assert counts == sorted(counts) and counts[3] > 2 * counts[2] > 4 * counts[1] / 1.5
    assert parameters(make(role, kind, size=1e-6, **sizes)) > 0


def test_every_registered_network_has_a_line_and_a_role() -> None:
    for name in networks:
        network = networks[name]
        first = network.__doc__.splitlines()[0]
        assert first.endswith((".", "joined to its mirror image.")) and 20 < len(first) < 140
        assert set(network.roles) <= {"encoder", "decoder", "mapper"}


def test_texts_are_parsed_and_both_ways_of_passing_options_agree() -> None:
    a = make("encoder", VECTOR, outputs=2, hidden="16,8", dropout="0.5")
    b = make("encoder", VECTOR, outputs=2, net={"hidden": (16, 8), "dropout": 0.5})
    assert repr(a) == repr(b) and parameters(a) == 3 * 16 + 16 + 16 * 8 + 8 + 8 * 2 + 2


def test_options_of_a_network() -> None:
    options = options_of("encoder", IMAGE)
    assert "width" in options and not {"inputs", "outputs", "given", "size"} & set(options)
    assert options["width"].annotation is int and options_of("encoder", VECTOR, "residual")["depth"].default == 2


def test_a_module_is_used_as_it_is() -> None:
    module = nn.Linear(3, 2)
    assert make("encoder", VECTOR, module, outputs=2) is module
    with pytest.raises(OptionError, match="'width' has no effect on a network passed as a module"):
        make("encoder", VECTOR, module, outputs=2, width=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("critic", VECTOR), "an encoder, a decoder or a mapper; got role 'critic'"),
        (lambda: make("encoder", VECTOR), "needs outputs="),
        (lambda: make("decoder", VECTOR), "needs inputs="),
        (lambda: make("encoder", VECTOR, outputs=0), "at least one"),
        (lambda: make("encoder", VECTOR, outputs=2, size=0), "size multiplies the widths"),
        (lambda: make("encoder", VECTOR, "conv", outputs=2), "network 'conv' does not serve as encoder of Vector; use mlp or residual"),
        (lambda: make("decoder", SET, inputs=2), "serves a Set only as a decoder with inputs=… and outputs=…"),
        (lambda: make("encoder", Label((0, 1)), outputs=2), "no network serves as encoder of Label"),
        (lambda: make("encoder", IMAGE, "convv", outputs=2), "unknown network 'convv'; did you mean 'conv'"),
        (lambda: make("encoder", IMAGE, outputs=2, widht=8), "unknown option 'widht' of network 'conv'; did you mean 'width'"),
        (lambda: make("encoder", IMAGE, outputs=2, width="wide"), "wants a whole number; got 'wide'"),
        (lambda: make("encoder", IMAGE, outputs=2, norm="layer"), "one of group, batch, none"),
        (lambda: make("encoder", IMAGE, net={"given": 3}, outputs=2), "'given' of network 'conv' follows from the data"),
        (lambda: make("encoder", IMAGE, outputs=2, activation="rellu"), "did you mean 'relu'"),
        (lambda: make("encoder", IMAGE, outputs=2, depth=0), "at least 1"),
    ],
)
def test_errors_say_what_to_do(call, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mlp", "residual", "conv", "deepsets"])
def test_a_missing_condition_is_named(name: str) -> None:
    kind = {"conv": IMAGE, "deepsets": SET}.get(name, VECTOR)
    network = make("encoder", kind, name, outputs=2, given=3)
    x = torch.zeros(4, *kind.shape) if name != "deepsets" else Ragged(torch.zeros(4, 3), torch.tensor([4]))
    with pytest.raises(OptionError, match="built with given=3 but got no condition"):
        network(x)
