"""What is done to training batches: mixtures against their formulas, draws against their distributions, all repeatable."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gnomon.blocks.augmentation import RandomFlip
from gnomon.data import Categorical, Column, Examples, Image, Label, Periodic, Ragged, Set, Spec, Vector
from gnomon.errors import OptionError
from gnomon.training.alterations import SMALLEST, Mixture, alterations

LABEL = Label(("a", "b", "c"))
MIXED = Vector((Column("phi", Periodic(-1, 1)), Column("pt"), Column("c", Categorical(("u", "d", "s")))))
IMAGES = Spec(Image(2, (6, 8)), y=LABEL)


def seeded(alter, batch: Examples, seed: int = 0) -> Examples:
    torch.manual_seed(seed)
    return alter(batch)


def numbered(rows: int, columns: int = 1) -> Tensor:
    """Every row holds its own number in all columns."""
    return torch.arange(float(rows)).view(rows, 1).repeat(1, columns)


def images(rows: int, *shape: int) -> Tensor:
    """Image i holds i everywhere."""
    return torch.arange(float(rows)).view(-1, *[1] * len(shape)).expand(rows, *shape).clone()


# ---- mixup --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixup_mixes_everything_by_one_share_from_a_beta_distribution(alpha) -> None:
    from scipy import stats

    rows = 3000
    generator = torch.Generator().manual_seed(5)
    hot = torch.eye(rows, dtype=torch.float64)  # so that a mixed row tells its two parents and their shares
    y, weight, given = torch.arange(rows) % 3, torch.rand(rows, generator=generator).double(), torch.randn(rows, 2, generator=generator)
    spec = Spec(Vector.real(rows), y=LABEL, given=Vector.real(2), weight="w")
    made = seeded(alterations(spec, mixup=alpha), Examples(hot, y, given.double(), weight))
    shares = made.x
    assert isinstance(shares, Tensor)
    torch.testing.assert_close(shares.sum(1), torch.ones(rows).double())
    assert ((shares > 0).sum(1) <= 2).all()
    assert sorted((shares - torch.diag(shares.diag())).argmax(1).unique().tolist())[-1] > rows // 2
    assert torch.allclose((shares > 0).double().sum(0).clamp(max=2), torch.full((rows,), 2.0).double(), atol=1)  # a partner once each
    classes = torch.eye(3).double()[y]
    torch.testing.assert_close(made.y, shares @ classes)
    torch.testing.assert_close(made.weight, shares @ weight)
    torch.testing.assert_close(made.given, shares @ given.double())
    own = shares.diag()
    own = own[(own > 0) & (own < 1)].numpy()  # but for who met itself, or whose share came out as 0 or 1
    if alpha >= 1:
        assert stats.kstest(own, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert abs(np.var(own) - 1 / (4 * (2 * alpha + 1))) < 0.006


def test_the_smallest_alpha_is_still_drawn_right_and_less_is_refused() -> None:
    made = seeded(Mixture(Spec(Vector.real(1), y=Vector.real(1)), mixup=SMALLEST), Examples(numbered(20000), y=numbered(20000)))
    share = Mixture(Spec(Vector.real(1), y=LABEL), mixup=SMALLEST)._shares(torch.zeros(50000, 1))[0]
    assert abs(share.var() - 1 / (4 * (2 * SMALLEST + 1))) < 0.001 and share.isfinite().all()
    assert isinstance(made.x, Tensor) and made.x.isfinite().all()


def test_numbers_are_mixed_and_angles_and_categories_taken_whole() -> None:
    rows = 4000
    x = torch.stack([numbered(rows)[:, 0] / rows * 6 - 3, numbered(rows)[:, 0], (numbered(rows)[:, 0] * 7 % 3)], 1)
    spec = Spec(MIXED, y=MIXED)
    made = seeded(Mixture(spec, mixup=1.0), Examples(x, y=x.clone()))
    assert isinstance(made.x, Tensor) and torch.equal(made.x, made.y)  # one share, one partner, one draw
    whose = ((made.x[:, 0] + 3) / 6 * rows).round()  # the parent whose angle it is
    assert torch.equal(made.x[:, 2], whose * 7 % 3)  # its category as well
    assert torch.equal(made.x[:, 0], x[whose.long(), 0])
    own = whose == numbered(rows)[:, 0]
    assert abs(own.float().mean() - 0.5) < 0.03
    # Where the example's share is large, the angle is its own: with the partner's number n, pt = λ i + (1 - λ) n.
    partner_known = ~own
    share = (made.x[:, 1] - whose)[partner_known] / (numbered(rows)[:, 0] - whose)[partner_known]
    assert share.min() > -1e-3 and share.max() < 1 + 1e-3
    assert abs(share.mean() - 1 / 3) < 0.02  # λ uniform, kept with probability 1 - λ: density 2 (1 - λ)


def test_an_absent_condition_stays_absent() -> None:
    given = torch.tensor([[1.0], [math.nan], [2.0], [3.0]])
    made = seeded(
        Mixture(Spec(Vector.real(4), y=LABEL, given=Vector.real(1)), mixup=1.0), Examples(torch.eye(4), torch.zeros(4).long(), given)
    )
    assert isinstance(made.x, Tensor) and made.given is not None
    assert torch.equal(made.given.isnan()[:, 0], made.x[:, 1] > 0)


# ---- cutmix -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40,), (12, 9), (5, 6, 7), (1, 7)])
def test_cutmix_pastes_a_box_and_counts_its_pixels(size) -> None:
    rows = 500
    spec = Spec(Image(2, size), y=Vector.real(1))
    batch = Examples(images(rows, 2, *size), y=numbered(rows), weight=numbered(rows)[:, 0].clone())
    made = seeded(Mixture(spec, cutmix=1.0), batch)
    assert isinstance(made.x, Tensor) and isinstance(made.y, Tensor) and made.weight is not None
    torch.testing.assert_close(made.x.flatten(1).mean(1), made.y[:, 0])  # λ is the share of pixels kept
    torch.testing.assert_close(made.weight, made.y[:, 0])
    own = numbered(rows).view(-1, *[1] * len(size))
    pasted = made.x[:, 0] != own
    assert torch.equal(made.x[:, 0], made.x[:, 1])  # the same box in all channels
    spans = [pasted.flatten(1).sum(1)]
    product = torch.ones(rows, dtype=torch.int64)
    for axis in range(1, 1 + len(size)):
        others = [a for a in range(1, 1 + len(size)) if a != axis]
        product *= (pasted.any(dim=others) if others else pasted).sum(1)
    assert torch.equal(spans[0], product)  # a box
    partner = torch.where(pasted, made.x[:, 0], -1).flatten(1).amax(1)
    assert all(set(np.unique(made.x[i].numpy())) <= {float(i), float(partner[i])} for i in range(rows))
    often = pasted.float().mean(0)
    assert often.min() > 0.05 and often.max() < 0.7  # anywhere


def test_boxes_have_the_area_that_was_drawn() -> None:
    x = torch.zeros(20000, 1, 100)
    mixture = Mixture(Spec(Image(1, (100,)), y=LABEL), cutmix=1.0)
    torch.manual_seed(0)
    share, _ = mixture._shares(x)
    # uniform extent e, uniform centre: what is left inside is e (1 - e / 4) on average
    assert abs((1 - share).mean() - (1 / 2 - 1 / 12)) < 0.005


def test_both_are_each_taken_for_half_of_the_examples() -> None:
    rows = 4000
    batch = Examples(images(rows, 2, 6, 8), y=torch.arange(rows) % 3)
    made = seeded(alterations(IMAGES, mixup=1.0, cutmix=1.0), batch)
    assert isinstance(made.x, Tensor) and isinstance(made.y, Tensor)
    flat = made.x.flatten(1)
    parents = torch.arange(float(rows))[:, None]
    blended = ((flat == flat[:, :1]).all(1)) & (flat[:, 0] != parents[:, 0])
    cut = (flat != flat[:, :1]).any(1)
    # cuts that miss all pixels, or cover all of them, look like neither; they are few
    assert abs(blended.float().mean() - 0.5) < 0.06 and abs(cut.float().mean() - 0.48) < 0.06
    torch.testing.assert_close(made.y.sum(1), torch.ones(rows))


# ---- all together -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (IMAGES, {"augment": "flip,rotate,noise,erase"}),
        (IMAGES, {"mixup": 0.4}),
        (IMAGES, {"cutmix": 0.4}),
        (IMAGES, {"augment": {"pca": 0.2}, "mixup": 0.4, "cutmix": 1.0}),
        (Spec(Image(2, (6, 8)), y=LABEL, given=Vector.real(2)), {"augment": "crop", "cutmix": 1.0, "drop_given": 0.5}),
    ],
)
def test_everything_repeats_when_the_generator_is_put_back(spec, options) -> None:
    generator = torch.Generator().manual_seed(0)
    batch = Examples(
        torch.randn(16, 2, 6, 8, generator=generator),
        torch.arange(16) % 3,
        None if spec.given is None else torch.randn(16, 2, generator=generator),
        torch.rand(16, generator=generator),
    )
    before = {name: values.clone() for name, values in batch.roles() if isinstance(values, Tensor)}
    alter = alterations(spec, **options)
    torch.manual_seed(3)
    alter(batch)
    state = torch.get_rng_state()
    first, second = alter(batch), alter(batch)
    torch.set_rng_state(state)
    again = alterations(spec, **options)(batch)  # as after a resume: nothing is kept outside the generator
    for (name, a), (_, b), (_, c) in zip(first.roles(), again.roles(), second.roles(), strict=True):
        assert isinstance(a, Tensor) and isinstance(b, Tensor) and isinstance(c, Tensor)
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
        assert name != "x" or not torch.equal(a, c)
    assert all(torch.equal(before[name], values) for name, values in batch.roles() if isinstance(values, Tensor))


def test_augmentation_is_the_blocks_own_and_comes_first() -> None:
    batch = Examples(torch.randn(16, 2, 6, 8), torch.arange(16) % 3)
    made = seeded(alterations(IMAGES, augment={"flip": [0]}), batch)
    torch.manual_seed(0)
    assert torch.equal(made.x, RandomFlip(2, axes=(0,))(batch.x))
    assert made.y is batch.y
    # noise is added before the mixture, so the mixture of equal rows has the noise of a mean
    rows = Examples(torch.zeros(20000, 1), torch.zeros(20000).long())
    mixed = seeded(alterations(Spec(Vector.real(1), y=LABEL), augment="noise=1", mixup=1.0), rows)
    assert isinstance(mixed.x, Tensor) and abs(mixed.x.var() - 2 / 3) < 0.02  # E[λ² + (1 - λ)²] = 2/3 for λ uniform


def test_sets_are_changed_element_by_element() -> None:
    values = Ragged(torch.zeros(7, 3), torch.tensor([3, 0, 4]))
    made = seeded(alterations(Spec(Set(MIXED)), augment="noise"), Examples(values))
    assert isinstance(made.x, Ragged) and torch.equal(made.x.lengths, values.lengths)
    assert (made.x.values[:, 1] != 0).all() and (made.x.values[:, [0, 2]] == 0).all()


def test_the_condition_is_hidden_as_a_whole_and_as_often_as_said() -> None:
    given = torch.randn(5000, 3)
    spec = Spec(Vector.real(1), given=Vector.real(3))
    made = seeded(alterations(spec, drop_given=0.3), Examples(torch.zeros(5000, 1), given=given)).given
    assert made is not None
    hidden = made.isnan()
    assert torch.equal(hidden.all(1), hidden.any(1)) and torch.equal(made[~hidden], given[~hidden])
    assert abs(hidden[:, 0].float().mean() - 0.3) < 0.03
    # bit for bit what training has done so far
    torch.manual_seed(0)
    assert torch.equal(hidden[:, 0], torch.rand((5000, 1))[:, 0] < 0.3)


def test_nothing_asked_is_nothing_done() -> None:
    assert alterations(IMAGES) is None
    assert alterations(IMAGES, augment={"flip": False}, mixup=0, cutmix=0.0, drop_given=0.0) is None


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (Spec(Vector.real(2)), {"mixup": 0.2}, "mixup .* wants y to be Label or Vector; got nothing"),
        (Spec(Image(1, (4, 4))), {"cutmix": 0.2}, "cutmix .* got nothing"),
        (Spec(Set(MIXED), y=LABEL), {"mixup": 0.2}, "mixup wants examples of one size, Vector or Image; x is Set"),
        (Spec(MIXED, y=LABEL), {"cutmix": 0.2}, "cutmix pastes a part of an image; x is Vector; use mixup"),
        (Spec(Image(1, (4, 4)), y=Image(1, (4, 4))), {"mixup": 0.2}, "got Image"),
        (IMAGES, {"mixup": -1.0}, "'mixup' is the α of a Beta distribution, 0.01 or more, or 0 for none; got -1"),
        (IMAGES, {"cutmix": math.nan}, "'cutmix' is the α"),
        (IMAGES, {"cutmix": math.inf}, "'cutmix' is the α"),
        (IMAGES, {"drop_given": 0.5}, "drop_given needs a condition"),
        (Spec(MIXED, given=MIXED), {"drop_given": 1.0}, "'drop_given' must be from 0 to below 1; got 1"),
        (IMAGES, {"augment": "swap"}, "does not suit an Image"),
        (Spec(Image(1, (4, 4)), y=Image(1, (4, 4))), {"augment": "flip"}, "augment changes x alone"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(spec, options, words) -> None:
    with pytest.raises(OptionError, match=words) as caught:
        alterations(spec, **options)
    assert "\n" not in str(caught.value)


def test_a_classifier_learns_from_mixed_batches() -> None:
    from gnomon.models.classifier import Classifier

    model = Classifier(IMAGES, shift=0.0, label_smoothing=0.1)
    batch = Examples(torch.randn(8, 2, 6, 8), torch.arange(8) % 3, weight=torch.ones(8))
    made = seeded(alterations(IMAGES, mixup=1.0, cutmix=1.0), batch)
    loss = model.loss(made)
    logits, y = model.predict(made).log_softmax(-1), made.y
    assert isinstance(y, Tensor)
    smooth = 0.9 * y + 0.1 / 3
    torch.testing.assert_close(loss.total, -(smooth * logits).sum())
    loss.total.backward()
