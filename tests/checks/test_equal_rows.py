"""Rows of equal weight, as many on both sides, and what follows for nulls and errors."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.checks import Effort, LeftOut, Sides
from gnomon.checks.case import Case
from gnomon.checks.equal_rows import equal_rows, error_beside, evened, labels, p_value, relabelled, share_of, told
from gnomon.checks.nulls import Pool
from gnomon.checks.statistics.columns import w1


def _sides(real: int, generated: int, *, weight: np.ndarray | None = None, paired: bool = False) -> Sides:
    rng = np.random.default_rng(real)
    weights = (weight, weight if paired else None)
    return Sides.of(rng.normal(size=(real, 2)), rng.normal(size=(generated, 2)), weights=weights, paired=paired)


def test_without_weights_the_longer_side_is_drawn_down() -> None:
    sides = _sides(80, 50)
    part = equal_rows(sides, 1000, fewest=20)
    assert (len(part.real), len(part.generated)) == (50, 50) and told(part, sides) == "; on 50 rows a side drawn at random"
    assert np.isin(part.real.values[:, 0], sides.real.values[:, 0]).all()
    assert equal_rows(_sides(40, 40), 40, fewest=20) is not None and equal_rows(sides, 1000, fewest=20) is part
    same = _sides(40, 40)
    assert equal_rows(same, 100, fewest=20) is same and told(same, same) == ""
    assert len(equal_rows(sides, 30, fewest=20).real) == 30


def test_weighted_rows_become_rows_of_the_weighted_distribution() -> None:
    """Drawn too wide and weighted back: what is kept is narrow, not repeated, and unweighted."""
    rng = np.random.default_rng(0)
    wide = 2 * rng.normal(size=20_000)
    weight = np.exp(-0.5 * wide**2 * (1 - 1 / 4))
    sides = Sides.of(wide, rng.normal(size=20_000), weights=(weight, None))
    part = equal_rows(sides, 20_000, fewest=20)
    assert part.real.weight is None and not part.weighted
    assert len(part.real) == pytest.approx(20_000 * weight.mean() / weight.max(), rel=0.05)
    assert part.real.values.std() == pytest.approx(1, abs=0.03) and len(np.unique(part.real.values)) == len(part.real)
    assert told(part, sides).endswith("drawn at random, by their weights")


def test_pairs_stay_pairs() -> None:
    weight = np.random.default_rng(1).random(200) + 0.2
    sides = _sides(200, 200, weight=weight, paired=True)
    part = equal_rows(sides, 60, fewest=20)
    both = ((sides.real, part.real), (sides.generated, part.generated))
    at = [np.flatnonzero(np.isin(whole.values[:, 0], some.values[:, 0])) for whole, some in both]
    assert len(part.real) == 60 and (at[0] == at[1]).all()


def test_what_cannot_be_drawn_is_left_out_with_its_reason() -> None:
    with pytest.raises(LeftOut, match="5 rows on the smaller side; it wants at least 20"):
        equal_rows(_sides(5, 50), 100, fewest=20)
    weight = np.ones(50)
    weight[0] = 1e6
    with pytest.raises(LeftOut, match="vary so much that only"):
        equal_rows(_sides(50, 50, weight=weight), 100, fewest=20)
    weight[0] = -1
    with pytest.raises(LeftOut, match="some weights of the real side are negative"):
        equal_rows(_sides(50, 50, weight=weight), 100, fewest=20)


def test_relabelling_stops_early_or_goes_on() -> None:
    sides, effort = _sides(40, 40), Effort(draws=99, more_draws=300)
    flat = relabelled(sides, "flat", lambda made: {"x": np.zeros(len(made))}, effort, {"x": "high"})
    assert flat.p == {"x": 1.0} and len(flat.draws["x"]) == 99
    marks = np.arange(80) >= 40
    sharp = relabelled(sides, "sharp", lambda made: {"x": share_of(marks, made), "y": made.sum(axis=1)}, effort, {"x": "both"})
    assert sharp.values["x"] == 1 and len(sharp.draws["x"]) == 399 and sharp.p == {"x": pytest.approx(2 / 400)}
    assert sharp.draws["x"].mean() == pytest.approx(0.5, abs=0.02) and set(sharp.draws["y"]) == {40}
    again = relabelled(sides, "sharp", lambda made: {"x": share_of(marks, made)}, effort, {"x": "both"})
    assert (again.draws["x"] == sharp.draws["x"]).all()


def test_labels_of_pairs_are_swapped_only() -> None:
    made = labels(Pool(30, 30, paired=True), 64, np.random.default_rng(0))
    assert made.shape == (64, 60) and (made[:, :30] != made[:, 30:]).all() and 0.4 < made[:, :30].mean() < 0.6


def test_p_values_look_where_they_are_told() -> None:
    draws = np.arange(99.0)
    assert p_value(-1, draws, "low") == 0.01 and p_value(-1, draws, "high") == 1 and p_value(-1, draws, "both") == 0.02
    assert p_value(500, draws, "low") == 1 and p_value(500, draws, "high") == 0.01 and p_value(50, draws, "both") == 1


def test_the_error_beside_a_null_covers_and_gives_way_to_the_other_one() -> None:
    draws = np.random.default_rng(0).normal(5, 2, size=20_000)

    def unasked() -> float:
        raise AssertionError

    near = error_beside(6.0, draws, unasked)
    assert near == pytest.approx(2, rel=0.03) and error_beside(1.5, draws, unasked) == near
    assert error_beside(5000.0, draws, lambda: 0.3) == pytest.approx(0.3, rel=0.01)
    assert 0.3 < error_beside(11.0, draws, lambda: 0.3) < near
    assert error_beside(0.0, np.zeros(9), unasked) == 0 and error_beside(0.2, np.zeros(9), lambda: 0.1) == pytest.approx(0.1)


def test_uneven_weights_give_way_to_equal_rows_and_even_ones_stay() -> None:
    rng = np.random.default_rng(0)
    values, uneven, even = rng.normal(size=(300, 1)), np.exp(2 * rng.normal(size=300)), rng.uniform(0.5, 1.5, size=300)
    rows = evened(Sides.of(values, values, weights=(None, uneven)))
    assert rows.generated.weight is None
    assert len(rows.real) == 300
    assert 5 < len(rows.generated) < 150
    for kept in (Sides.of(values, values, weights=(even, even)), Sides.of(values, values, weights=(uneven - 1, None))):
        assert evened(kept) is kept


def test_p_values_stay_valid_where_a_few_heavy_rows_decide() -> None:
    """Rows of a neighbouring normal distribution, weighted so as to stand for the standard one: relabelling rejects 20 % at 5 %."""
    rng, small = np.random.default_rng(1), 0
    for _ in range(150):
        real, other = rng.normal(size=(1000, 1)), rng.normal(1.6, size=(1000, 1))
        sides = evened(Sides.of(real, other, weights=(None, np.exp(-1.6 * other[:, 0]))))
        small += w1(Case(sides=sides, effort=Effort(draws=99, more_draws=0)))[0].p <= 0.05
    assert small <= 15
