"""Networks against promises of their own: conditions, sizes, sets without order, columns as features, cost."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch.func import functional_call, grad, stack_module_state, vmap

from gnomon.blocks import MLP, ColumnFeatures
from gnomon.data import Categorical, Column, Image, Label, Periodic, Ragged, Set, Vector
from gnomon.errors import DataError
from gnomon.networks import Condition, make
from gnomon.networks.images import stages

MIXED = Vector((Column("phi", Periodic(-1, 1)), Column("pt"), Column("c", Categorical("abc"))))
NAN = float("nan")

# ---- condition ----------------------------------------------------------------------------------------------------


def test_condition_by_hand() -> None:
    condition = Condition(MIXED)
    assert condition.outputs == 6 + 3
    rows = torch.tensor([[0.0, 2.0, 1.0], [NAN, 2.0, NAN], [0.0, NAN, 2.0], [NAN, NAN, NAN]])
    expected = [
        [2, 0, 1, 0, 1, 0, 1, 1, 1],  # number, sine, cosine, one-hot of three, three presence bits (phi, pt, c)
        [2, 0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0, 1, 1, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert torch.equal(condition(rows, 4), torch.tensor(expected, dtype=torch.float32))


def test_no_condition_at_all_is_every_column_absent() -> None:
    condition = Condition(MIXED)
    assert torch.equal(condition(None, 3), condition(torch.full((3, 3), NAN), 3))


@pytest.mark.parametrize("given", [None, Vector(())])
def test_a_spec_without_conditions_gives_none(given: Vector | None) -> None:
    condition = Condition(given)
    assert condition.outputs == 0 and condition(None, 3) is None


def test_an_image_is_absent_as_a_whole_and_brightness_is_kept() -> None:
    torch.manual_seed(0)
    condition = Condition(Image(1, (5, 3)))
    assert condition.outputs == 33
    rows = torch.randn(4, 1, 5, 3)
    rows[2] = NAN
    with torch.no_grad():
        condition.encoder.head[-1].bias.add_(0.01)  # so that no image at all has features of its own
    made = condition(rows, 4)
    assert made[:, -1].tolist() == [1, 1, 0, 1] and torch.equal(made[2], torch.zeros(33))
    torch.testing.assert_close(made[[0, 1, 3]], torch.cat([condition(row, 1) for row in rows[[0, 1, 3], None]]))
    assert torch.equal(condition(None, 4), condition(torch.full_like(rows, NAN), 4))
    bright = condition(torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 5, 3), 2)
    assert bool((bright[0] - bright[1]).norm() > 0.5 * bright[0, :-1].norm())  # a norm over each image would make them nearly equal
    made.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in condition.parameters())


def test_an_empty_set_is_present_and_order_does_not_count() -> None:
    condition = Condition(Set(MIXED), size=0.5)
    elements = torch.tensor([[0.1, 2.0, 1.0], [0.5, -1.0, 0.0], [-0.3, 0.0, 2.0]])
    made = condition(Ragged(elements, torch.tensor([2, 0, 1])), 3)
    turned = condition(Ragged(elements[[1, 0, 2]], torch.tensor([2, 0, 1])), 3)
    assert made[:, -1].tolist() == [1, 1, 1]
    torch.testing.assert_close(made, turned)
    assert torch.equal(condition(None, 3), torch.zeros(3, 33))


def test_a_condition_that_nothing_reads_is_refused() -> None:
    with pytest.raises(DataError, match="a condition is one of Vector, Image, Set, Sequence; got Label"):
        Condition(Label(("a", "b")))  # type: ignore[arg-type]


def test_absence_lets_no_nan_into_gradients() -> None:
    rows = torch.tensor([[NAN, 1.0]], requires_grad=True)
    Condition(Vector.real(2))(rows, 1).sum().backward()
    assert rows.grad.tolist() == [[0.0, 1.0]]


# ---- vectors ------------------------------------------------------------------------------------------------------


def test_plain_vectors_go_straight_through_the_layers() -> None:
    network, x = make("encoder", Vector.real(3), outputs=2), torch.randn(5, 3)
    assert isinstance(network.net, MLP) and torch.equal(network(x), network.net(x))
    calls = []
    for module in network.modules():
        module.register_forward_hook(lambda m, a, r: calls.append(type(m).__name__))
    network(x)
    assert calls == ["Linear", "SiLU", "Linear", "SiLU", "Linear", "MLP", "VectorNetwork"]


def test_columns_are_read_as_features_unless_features_come() -> None:
    torch.manual_seed(0)
    whole, z = make("encoder", MIXED, outputs=2), torch.tensor([[0.3, 1.0, 2.0], [-3.0, 0.0, 0.0]])
    handed = make("encoder", MIXED, inputs=6, outputs=2)
    handed.load_state_dict(whole.state_dict())
    torch.testing.assert_close(whole(z), handed(ColumnFeatures(MIXED)(z)))


def test_an_angle_has_no_seam() -> None:
    network = make("encoder", Vector((Column("phi", Periodic(-1, 1)),)), outputs=2)
    a, b = network(torch.tensor([[-3.1415926], [3.1415926]]))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_mapper_keeps_the_width_of_the_columns() -> None:
    z = torch.tensor([[0.3, 1.0, 2.0]])
    assert make("mapper", MIXED)(z).shape == (1, 3) and make("mapper", MIXED, inputs=6, outputs=6)(torch.zeros(1, 6)).shape == (1, 6)


# ---- images -------------------------------------------------------------------------------------------------------

SIZES = [
    *((n,) for n in (1, 2, 3, 8, 17, 100)),
    *itertools.product(range(1, 9, 3), repeat=2),
    *((n, n) for n in range(1, 9)),
    (28, 28),
    (33, 5),
    *itertools.product((1, 2, 5), repeat=3),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_images_of_any_size(size: tuple[int, ...]) -> None:
    kind = Image(2, size)
    x, code = torch.randn(3, 2, *size), torch.randn(3, 4)
    small = {"width": 8}
    assert make("encoder", kind, outputs=4, hidden=(8,), **small)(x).shape == (3, 4)
    assert make("decoder", kind, inputs=4, hidden=(8,), **small)(code).shape == x.shape
    assert make("decoder", kind, inputs=4, outputs=7, **small)(code).shape == (3, 7, *size)
    assert make("mapper", kind, **small)(x).shape == x.shape
    assert make("mapper", kind, inputs=2, outputs=5, **small)(x).shape == (3, 5, *size)


@pytest.mark.parametrize("size", [(1,), (64,), (8, 8), (28, 28), (33, 5), (1, 64), (9, 9, 9), (224, 224), (40, 3, 1)])
def test_the_table_of_stages_ends_with_at_most_sixteen_cells(size: tuple[int, ...]) -> None:
    table = stages(size, 8)
    assert table[0].size == size and max(s.channels for s in table) <= 32
    assert torch.tensor(table[-1].size).prod() <= 16
    for a, b in itertools.pairwise(table):
        assert all(after in (before, -(-before // 2)) for before, after in zip(a.size, b.size, strict=True)) and a.size != b.size


def test_short_axes_are_not_halved() -> None:
    assert [stage.size for stage in stages((40, 3), 64)] == [(40, 3), (20, 3), (10, 3), (5, 3), (3, 3)]
    assert [stage.channels for stage in stages((40, 3), 64)] == [16, 16, 16, 32, 64]


def test_gradient_penalty_of_many_critics_at_once() -> None:
    """R1 of three critics under vmap, and its gradient by their parameters, as one after the other."""
    critics = [make("encoder", Image(1, (6, 5)), outputs=1, width=16).double() for _ in range(3)]
    stacked, buffers = stack_module_state(critics)
    x = torch.randn(4, 1, 6, 5, dtype=torch.float64)

    def penalty(parameters: dict, state: dict) -> torch.Tensor:
        return grad(lambda z: functional_call(critics[0], (parameters, state), (z,)).sum())(x).square().flatten(1).sum(1).mean()

    together = vmap(grad(penalty))(stacked, buffers)
    for i, critic in enumerate(critics):
        z = x.clone().requires_grad_()
        slope = torch.autograd.grad(critic(z).sum(), z, create_graph=True)[0]
        slope.square().flatten(1).sum(1).mean().backward()
        for name, parameter in critic.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(together[name][i], parameter.grad)


def test_unet_sees_the_whole_image_at_every_pixel() -> None:
    torch.manual_seed(0)
    network, x = make("mapper", Image(1, (16, 16)), width=8).double(), torch.randn(1, 1, 16, 16).double().requires_grad_()
    network(x)[0, 0, 0, 0].backward()
    assert (x.grad != 0).all()


def test_encoder_reads_every_pixel() -> None:
    torch.manual_seed(0)
    for size in ((8, 8), (28, 28), (5, 3), (37,), (3, 4, 5)):
        x = torch.randn(1, 1, *size, dtype=torch.float64, requires_grad=True)
        make("encoder", Image(1, size), outputs=3, width=8).double()(x).square().sum().backward()
        assert (x.grad != 0).all()


def test_what_the_head_sees() -> None:
    cells = torch.arange(24.0).reshape(2, 3, 4)
    seen = {pool: make("encoder", Image(1, (4, 4)), outputs=2, pool=pool)._pooled(cells) for pool in ("mean", "flatten", "both")}
    torch.testing.assert_close(seen["mean"], cells.sum(2) / 4)
    assert torch.equal(seen["flatten"], cells.reshape(2, 12))
    torch.testing.assert_close(seen["both"], torch.cat([seen["mean"], seen["flatten"] / 4], 1))


def test_images_may_have_channels_of_their_own() -> None:
    network = make("encoder", Image(1, (8, 8)), inputs=3, outputs=2)
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 2)


@pytest.mark.parametrize("size", [(8, 8), (28, 28)])
def test_default_image_networks_are_small(size: tuple[int, int]) -> None:
    for role, sizes in (("encoder", {"outputs": 10}), ("decoder", {"inputs": 16})):
        assert sum(p.numel() for p in make(role, Image(1, size), **sizes).parameters()) < 300_000


# ---- conditions act -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "kind", "name"),
    [
        (role, kind, name)
        for role, kind, names in (
            ("encoder", Vector.real(3), ("mlp", "residual")),
            ("decoder", Vector.real(3), ("mlp", "residual")),
            ("mapper", Vector.real(3), ("mlp", "residual")),
            ("encoder", Image(1, (5, 5)), ("mlp", "conv")),
            ("decoder", Image(1, (5, 5)), ("mlp", "deconv")),
            ("mapper", Image(1, (5, 5)), ("mlp", "unet")),
            ("encoder", Set(Vector.real(3)), ("deepsets",)),
        )
        for name in names
    ],
)
def test_the_condition_is_learned_from_the_first_step(role: str, kind: object, name: str) -> None:
    torch.manual_seed(0)
    network = make(role, kind, name, given=2, **{"encoder": {"outputs": 3}, "decoder": {"inputs": 3}, "mapper": {}}[role])
    x = torch.randn(6, 3) if role == "decoder" else torch.randn(6, *getattr(kind, "shape", ()))
    if isinstance(kind, Set):
        x = Ragged(torch.randn(9, 3), torch.tensor([2, 0, 3, 1, 1, 2]))
    given, target = torch.randn(6, 2), torch.randn(6, 2)[:, :1]
    optimiser = torch.optim.SGD(network.parameters(), 0.05)
    for _ in range(3):
        loss = (network(x, given).flatten(1).mean(1, keepdim=True) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert not torch.allclose(network(x, given), network(x, given.flip(0)), atol=1e-6)


# ---- sets ---------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_sets_have_no_order_and_do_not_see_each_other(lengths: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    network = make("encoder", Set(MIXED), outputs=3, element=(8,), hidden=(8,)).double()
    sets = [torch.randn(n, 3, dtype=torch.float64) for n in lengths]
    for elements in sets:
        elements[:, 2] = torch.randint(0, 3, (len(elements),))
    whole = network(Ragged(torch.cat(sets), torch.tensor(lengths)))
    for i, elements in enumerate(sets):
        shuffled = elements[torch.randperm(len(elements))]
        torch.testing.assert_close(network(Ragged(shuffled, torch.tensor([len(elements)])))[0], whole[i])


def test_sets_tell_counts_apart() -> None:
    network, one = make("encoder", Set(Vector.real(2)), outputs=3), torch.randn(1, 2)
    once, twice = (network(Ragged(one.repeat(k, 1), torch.tensor([k]))) for k in (1, 2))
    assert not torch.allclose(once, twice, atol=1e-4)


@pytest.mark.slow
def test_deep_sets_add_up() -> None:
    """The sum of ten numbers' squares: far better than any function of the count alone."""
    torch.manual_seed(0)
    network = make("encoder", Set(Vector.real(1)), outputs=1, size=0.5)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(800):
        lengths = torch.randint(0, 10, (64,))
        x = Ragged(torch.randn(int(lengths.sum()), 1), lengths)
        target = torch.stack([part.square().sum() for part in x.split()])
        error = network(x)[:, 0] - target
        optimiser.zero_grad()
        error.square().mean().backward()
        optimiser.step()
    assert error.square().mean() < 0.05 * target.var()


# ---- the defaults learn -------------------------------------------------------------------------------------------


def digits() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standardised 8x8 images and labels, four fifths to learn from and one fifth held out."""
    pixels, labels = load_digits(return_X_y=True)
    train, held_out, y, y_held_out = train_test_split(pixels, labels, test_size=0.2, stratify=labels, random_state=0)
    mean, sd = train.mean(), train.std()
    images = [torch.tensor((part.reshape(-1, 1, 8, 8) - mean) / sd, dtype=torch.float32) for part in (train, held_out)]
    return images[0], torch.tensor(y), images[1], torch.tensor(y_held_out)


@pytest.mark.slow
def test_default_encoder_reads_digits() -> None:
    """At least 98.6 % of held-out digits after 25 epochs (99.4 % after 40, each of five seeds)."""
    torch.manual_seed(0)
    x, y, x_held_out, y_held_out = digits()
    network = make("encoder", Image(1, (8, 8)), outputs=10)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(25):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        assert (network(x_held_out).argmax(1) != y_held_out).sum() <= 5


@pytest.mark.slow
def test_default_encoder_and_decoder_beat_principal_components_on_digits() -> None:
    """Sixteen numbers keep more of a held-out digit than sixteen principal components do."""
    torch.manual_seed(0)
    x, _, x_held_out, _ = digits()
    encoder, decoder = make("encoder", Image(1, (8, 8)), outputs=16), make("decoder", Image(1, (8, 8)), inputs=16)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 2e-3)
    for _ in range(20):
        for rows in torch.randperm(len(x)).split(64):
            optimiser.zero_grad()
            (decoder(encoder(x[rows])) - x[rows]).square().mean().backward()
            optimiser.step()
    pca = PCA(16).fit(x.flatten(1).numpy())
    linear = torch.from_numpy(pca.inverse_transform(pca.transform(x_held_out.flatten(1).numpy()))).reshape(x_held_out.shape)
    with torch.no_grad():
        error = (decoder(encoder(x_held_out)) - x_held_out).square().mean()
    assert error < 0.9 * (linear - x_held_out).square().mean()
