"""Many labellings followed at once give what each gives by itself."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.checks.measures.neighbours import prdc
from gnomon.checks.measures.relabelled_neighbours import Neighbourhoods


@pytest.mark.parametrize(("rows", "columns", "length", "k"), [(60, 2, 48, 5), (150, 3, 6, 5), (120, 10, 48, 1), (100, 1, 9, 3)])
def test_every_labelling_is_as_by_itself(rows: int, columns: int, length: int, k: int) -> None:
    """Also labellings that have nothing to do with chance, for which short lists have to be made longer."""
    rng = np.random.default_rng(rows)
    points = rng.normal(size=(rows, columns))
    labels = rng.random((70, rows)) < rng.uniform(0.2, 0.8, size=(70, 1))
    labels[3], labels[66] = points[:, 0] > 0.7, np.abs(points[:, 0]) < 0.5
    made = Neighbourhoods(points, k, length).shares(labels)
    for b in range(70):
        alone = prdc(points[~labels[b]], points[labels[b]], k)
        for name, values in made.items():
            assert values[b] == pytest.approx(getattr(alone, name), abs=1e-12), (name, b)


def test_rows_that_tie_with_many_others_keep_their_own_place() -> None:
    """With equal rows the order is arbitrary, but every list still names other rows, each once."""
    points = np.repeat(np.arange(4.0), 20)[:, None]
    made = Neighbourhoods(points, 2, 5).shares(np.tile(np.arange(80) % 2 == 0, (3, 1)))
    assert all(np.isfinite(values).all() and (values >= 0).all() for values in made.values())
    assert (made["precision"] <= 1).all() and (made["coverage"] <= 1).all()


def test_relabelled_coverage_is_centred_where_theory_says() -> None:
    rng = np.random.default_rng(0)
    labels = rng.permuted(np.tile(np.arange(400) < 200, (256, 1)), axis=1)
    made = Neighbourhoods(rng.normal(size=(400, 4))).shares(labels)
    assert made["coverage"].mean() == pytest.approx(1 - 2**-5, abs=0.003)
    assert made["density"].mean() == pytest.approx(1, abs=0.03)
