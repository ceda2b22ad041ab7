"""Scaling of images, sets, targets and conditions; single columns are in test_scaling."""

import math

import pytest
import torch

from gnomon.data import Column, Examples, Image, Integer, Label, Positive, Ragged, Scaling, Set, Spec, Vector

ROWS = 400


def _normal(seed=2):
    return torch.randn(ROWS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_weights_count_for_images():
    x = torch.tensor([0, 4, 16]).to(torch.uint8).reshape(3, 1, 1, 1).expand(3, 1, 2, 2)
    spec = Spec(Image(1, (2, 2), levels=17))
    weighted = Scaling.fit(spec, Examples(x, weight=torch.tensor([1.0, 1.0, 4.0]) / 2)).state()
    repeated = Scaling.fit(spec, Examples(x[[0, 1, 2, 2, 2, 2]])).state()
    assert torch.allclose(weighted["x.mean"], repeated["x.mean"]) and torch.allclose(weighted["x.scale"], repeated["x.scale"])


@pytest.mark.parametrize("levels, dtype", [(256, torch.uint8), (17, torch.uint8), (1024, torch.int32)])
def test_images_with_levels(levels, dtype):
    kind = Image(2, (5, 3), levels=levels)
    x = torch.randint(0, levels, (50, 2, 5, 3), generator=torch.Generator().manual_seed(0)).to(dtype)
    x[:, 1] = x[:, 1] // 2
    scaling = Scaling.fit(Spec(kind), Examples(x))
    stored = scaling.store(Examples(x))
    assert stored.x.dtype == dtype and scaling.has_integers and scaling.cells == 30
    for noise in (False, True):
        z = scaling.dequantise(stored, torch.Generator().manual_seed(1), noise=noise).x
        assert z.dtype == torch.float32 and z.shape == x.shape
        assert z.mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=0.05) and z.std((0, 2, 3)).tolist() == pytest.approx(
            [1, 1], abs=0.05
        )
        back = scaling.inverse("x", z)
        assert back.dtype == dtype and float((back != x).float().mean()) < 1e-3
    assert torch.equal(scaling.inverse("x", scaling.forward(Examples(x)).x), x)
    assert scaling.inverse("x", torch.full((1, 2, 5, 3), 99.0)).unique().tolist() == [levels - 1]
    expected = -15 * float(scaling.state()["x.scale"].log().sum())
    assert scaling.log_det(Examples(x)).tolist() == pytest.approx([expected] * 50)
    assert scaling.at(Examples(x), scaling.lattice(4)[1]).x.shape == x.shape
    assert scaling.outside(Examples(x)).tolist() == [False] * 50


def test_real_images_and_their_outside():
    x = 3 + 2 * torch.randn(20, 1, 4, generator=torch.Generator().manual_seed(0))
    scaling = Scaling.fit(Spec(Image(1, (4,))), Examples(x))
    z = scaling.forward(Examples(x)).x
    assert not scaling.has_integers and scaling.store(Examples(x)).x.dtype == torch.float32
    assert torch.allclose(scaling.inverse("x", z), x, atol=1e-5) and float(z.std(unbiased=False)) == pytest.approx(1.0, abs=1e-5)
    x[3, 0, 1] = math.nan
    assert scaling.outside(Examples(x)).nonzero().flatten().tolist() == [3]
    levels = Scaling.fit(Spec(Image(1, (2,), levels=4)), Examples(torch.tensor([[[0, 3]], [[1, 2]]], dtype=torch.uint8)))
    assert levels.outside(Examples(torch.tensor([[[0, 4]], [[1, 2]]], dtype=torch.uint8))).tolist() == [True, False]
    assert levels.outside(Examples(torch.tensor([[[0, 0.5]], [[1, 2]]]))).tolist() == [True, False]


def test_constant_channel_has_a_notice():
    x = torch.randn(20, 2, 4, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 0.3
    scaling = Scaling.fit(Spec(Image(2, (4,))), Examples(x))
    assert scaling.notices == ["channel 1 of x is constant; its scale is 1"]
    assert float(scaling.state()["x.scale"][1]) == 1.0


def test_other_roles():
    spec = Spec(Vector.real(2), y=Vector((Column("t", Integer(0, 9)),)), given=Vector((Column("g", Positive()), Column("k", Integer()))))
    given = torch.stack([_normal(7).exp(), (9 * _normal(8)).round()], 1)
    given[3, 0] = math.nan
    raw = Examples(
        torch.stack([_normal(), _normal(3)], 1), y=torch.arange(ROWS).double()[:, None] % 10, given=given, weight=torch.ones(ROWS).double()
    )
    scaling = Scaling.fit(spec, raw)
    stored = scaling.store(raw)
    assert not scaling.has_integers and scaling.dequantise(stored) is stored
    assert [v.dtype for _, v in stored.roles()] == [torch.float32] * 4
    assert torch.equal(stored.given.isnan(), given.isnan())
    assert torch.equal(scaling.inverse("y", stored.y), raw.y)
    assert torch.allclose(scaling.inverse("given", stored.given), given, rtol=1e-5, equal_nan=True)
    assert torch.allclose(scaling.inverse("y", stored.y, whole=False), raw.y, atol=1e-4)
    assert scaling.log_det(raw, role="y").shape == (ROWS,)
    labels = Examples(raw.x, y=torch.zeros(ROWS, dtype=torch.int64))
    labelled = Scaling.fit(Spec(Vector.real(2), y=Label((0, 1))), labels)
    assert labelled.store(labels).y is labels.y and labelled.inverse("y", labels.y) is labels.y


def test_sets_scale_their_elements():
    kind = Set(Vector((Column("e", Positive()), Column("n", Integer()))))
    lengths = torch.tensor([2, 0, 3])
    values = torch.stack([torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0])], 1).double()
    raw = Examples(Ragged(values, lengths), weight=torch.ones(3).double())
    scaling = Scaling.fit(Spec(kind), raw)
    stored = scaling.store(raw)
    z = scaling.dequantise(stored, torch.Generator().manual_seed(0)).x
    assert torch.equal(scaling.inverse("x", z).lengths, lengths)
    assert torch.allclose(scaling.inverse("x", z).values, values, atol=1e-5)
    dets = scaling.log_det(raw)
    assert float(dets[1]) == 0.0 and float(dets[0]) == pytest.approx(
        float(sum(scaling.log_det(Examples(Ragged(values[i : i + 1], torch.tensor([1])))) for i in (0, 1)))
    )
    values[4, 0] = -1
    assert scaling.outside(raw).tolist() == [False, False, True]


def test_weights_of_sets_count_for_their_elements():
    spec = Spec(Set(Vector.real(1)), weight="w")
    rows = [torch.tensor([[1.0], [2.0]]), torch.tensor([[7.0]])]
    once = Ragged(torch.cat(rows).double(), torch.tensor([2, 1]))
    thrice = Ragged(torch.cat([rows[0], rows[1], rows[1], rows[1]]).double(), torch.tensor([2, 1, 1, 1]))
    weighted = Scaling.fit(spec, Examples(once, weight=torch.tensor([0.5, 1.5]))).state()
    repeated = Scaling.fit(spec, Examples(thrice)).state()
    assert torch.allclose(weighted["x.mean"], repeated["x.mean"]) and torch.allclose(weighted["x.scale"], repeated["x.scale"])


@pytest.mark.parametrize(
    "spec, x",
    [
        (Spec(Image(2, (3,), levels=5)), torch.arange(24).reshape(4, 2, 3) % 5),
        (
            Spec(Vector((Column("a", Integer(0, 9)), Column("b", Integer(0, None)), Column("c")))),
            torch.arange(12.0).double().reshape(4, 3) % 9,
        ),
        (Spec(Vector((Column("a", Integer()),))), torch.arange(4.0).double()[:, None]),
    ],
)
def test_batches_stay_on_their_device(spec, x):
    """A tensor left on the host would be refused by the meta device, which holds shapes only."""
    scaling = Scaling.fit(spec, Examples(x))
    stored = scaling.store(Examples(x)).to("meta")
    for noise in (False, True):
        z = scaling.dequantise(stored, noise=noise).x
        assert z.device.type == "meta" and z.shape == x.shape and z.dtype == torch.float32


def test_first_use_without_gradients_does_not_spoil_later_ones():
    x = torch.tensor([[[0, 1, 4]], [[3, 2, 1]]])
    scaling = Scaling.fit(Spec(Image(1, (3,), levels=5)), Examples(x))
    with torch.inference_mode():
        scaling.forward(Examples(x))
    point = (x + 0.5).requires_grad_(True)
    scaling.maps["x"].forward(point).sum().backward()
    assert torch.allclose(point.grad.log().sum((1, 2)).double(), scaling.log_det(Examples(x)), atol=1e-5)
