"""Likelihoods of grey levels: sums of one, scipy's and torch's distributions, gradients near zero, draws that follow, places of cells."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate
from torch import Tensor

from gnomon.blocks.pixel_heads import (
    BernoulliHead,
    CategoricalHead,
    ContinuousBernoulliHead,
    DiscretisedLogisticHead,
    PixelHead,
)
from gnomon.data import Image
from gnomon.errors import OptionError

LOW, HIGH = torch.tensor([-0.7, 0.3]), torch.tensor([1.4, 5.1])
HEADS = {
    "bernoulli": lambda: BernoulliHead(Image(2, (3,), levels=2)),
    "categorical": lambda: CategoricalHead(Image(2, (3,), levels=5)),
    "logistic": lambda: DiscretisedLogisticHead(Image(2, (3,), levels=5)),
    "logistics": lambda: DiscretisedLogisticHead(Image(2, (3,), levels=5), components=3),
    "continuous": lambda: ContinuousBernoulliHead(Image(2, (3,), levels=5)),
}
EXACT = [name for name in HEADS if name != "continuous"]


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> PixelHead:
    made = HEADS[request.param]()
    made.enclose(LOW, HIGH)
    return made.double()


def raw_of(head: PixelHead, n: int = 1, seed: int = 0) -> Tensor:
    return 2 * torch.randn(n, head.outputs, 3, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("name", EXACT)
def test_the_probabilities_of_all_images_sum_to_one(name: str) -> None:
    wide = HEADS[name]()
    options = {"components": 3} if name == "logistics" else {}
    head = type(wide)(Image(2, (1,), levels=wide.levels), **options).double()  # two pixels: each image can be met
    head.enclose(LOW, HIGH)
    levels = torch.cartesian_prod(torch.arange(head.levels), torch.arange(head.levels)).double()[:, :, None]
    volume = ((HIGH.double() - LOW.double()) / head.levels).prod()
    made = head(raw_of(head)[:, :, :1].expand(len(levels), -1, -1)).log_prob(head.place(levels)).exp() * volume
    assert bool((made > 0).all())
    assert made.sum().item() == pytest.approx(1, abs=1e-9)


def test_wherever_in_its_cell_a_level_lies_the_probability_is_the_same() -> None:
    for name in EXACT:
        head = HEADS[name]()
        head.enclose(LOW, HIGH)
        raw, k = raw_of(head, 4).float(), torch.randint(0, head.levels, (4, 2, 3), generator=torch.Generator().manual_seed(1))
        places = [head.place(k + offset) for offset in (-0.49, 0.0, 0.49)]
        assert all(torch.equal(head.level(place), k.float()) for place in places)
        values = [head(raw).log_prob(place) for place in places]
        assert torch.equal(values[0], values[1]) and torch.equal(values[1], values[2])
        assert all(torch.allclose(head.read(place), head.place(k.float())) for place in places)


def test_bernoulli_and_categorical_are_those_of_torch() -> None:
    bernoulli, categorical = HEADS["bernoulli"]().double(), HEADS["categorical"]().double()
    raw, k = raw_of(bernoulli, 3), torch.randint(0, 2, (3, 2, 3)).double()
    oracle = torch.distributions.Bernoulli(logits=raw).log_prob(k).sum((1, 2))
    torch.testing.assert_close(bernoulli(raw).log_prob(k + 0.5), oracle)
    raw, k = raw_of(categorical, 3), torch.randint(0, 5, (3, 2, 3)).double()
    logits = raw.view(3, 5, 2, 3).movedim(1, -1)
    torch.testing.assert_close(categorical(raw).log_prob(k + 0.5), torch.distributions.Categorical(logits=logits).log_prob(k).sum((1, 2)))


def test_the_continuous_bernoulli_is_that_of_torch_and_integrates_to_one() -> None:
    head = ContinuousBernoulliHead(Image(1, (1,), levels=256)).double()
    head.enclose(torch.tensor(-1.0), torch.tensor(3.0))
    for eta in (-9.0, -0.5, -0.01, 0.0, 0.02, 0.2, 7.0):
        raw = torch.full((1, 1, 1), eta).double()
        oracle = torch.distributions.ContinuousBernoulli(logits=raw)
        t = torch.tensor([[[0.3]]]).double()
        torch.testing.assert_close(head(raw).log_prob(4 * t - 1), (oracle.log_prob(t) - math.log(4.0))[:, 0, 0], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(head(raw).mean(), 4 * oracle.mean - 1, atol=1e-4, rtol=1e-4)
        area = integrate.quad(lambda z, raw=raw: float(head(raw).log_prob(torch.tensor([[[z]]]).double()).exp()), -1, 3)[0]
        assert area == pytest.approx(1, abs=1e-6)


def test_gradients_are_right_where_the_density_is_even() -> None:
    head = ContinuousBernoulliHead(Image(1, (4,), levels=256)).double()
    raw = torch.tensor([[[-0.1, 0.0, 1e-6, 0.06]]]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda r: head(r).log_prob(torch.full((1, 1, 4), 70.0).double()), raw)
    assert torch.autograd.gradcheck(lambda r: head(r).mean(), raw)


def test_draws_have_the_mean_that_is_told(head: PixelHead) -> None:
    torch.manual_seed(0)
    raw = 0.5 * raw_of(head)
    drawn = head(raw.expand(40_000, -1, -1)).sample()
    if isinstance(head, DiscretisedLogisticHead):  # its mean is told before the ends are cut
        shares = torch.stack([(head.level(drawn) == k).double().mean(0) for k in range(head.levels)])
        for k in range(head.levels):
            image = head.place(torch.full((1, 2, 3), float(k)).double())
            alone = _pixelwise(head, raw, image)
            torch.testing.assert_close(shares[k], alone, atol=0.015, rtol=0)
        return
    width = (HIGH - LOW).double()[:, None]
    assert (((drawn.mean(0) - head(raw).mean()[0]) / width).abs() < 0.012).all()


def _pixelwise(head: DiscretisedLogisticHead, raw: Tensor, image: Tensor) -> Tensor:
    made = head._mixture(raw).log_prob(head.level(image).flatten())
    return made.exp().view(2, 3)


def test_reconstructions_and_draws_lie_within_the_ends(head: PixelHead) -> None:
    raw = 30 * raw_of(head, 50)
    low, high = LOW.double()[:, None], HIGH.double()[:, None]
    for made in (head(raw).mean(), head(raw).sample()):
        assert torch.isfinite(made).all() and (made >= low).all() and (made <= high).all()
    assert torch.isfinite(head(raw).log_prob(torch.randn(50, 2, 3).double())).all()


def test_where_the_cells_lie_is_part_of_the_state(head: PixelHead) -> None:
    other = type(head)(head.kind, **({"components": 3} if getattr(head, "components", 1) == 3 else {})).double()
    other.load_state_dict(head.state_dict())
    raw, x = raw_of(head, 2), head.place(torch.ones(2, 2, 3).double())
    assert torch.equal(other(raw).log_prob(x), head(raw).log_prob(x))


def test_what_such_pixels_cannot_have_is_refused() -> None:
    with pytest.raises(OptionError, match="'categorical' wants pixels that are whole grey levels"):
        CategoricalHead(Image(1, (2,)))
    with pytest.raises(OptionError, match="two levels; these have 17"):
        BernoulliHead(Image(1, (2,), levels=17))
    with pytest.raises(OptionError, match="must be 1 or more; got 0"):
        DiscretisedLogisticHead(Image(1, (2,), levels=3), components=0)
