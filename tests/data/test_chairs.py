"""Drawn chairs: repeatable, and each factor changes what it should and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from gnomon.data.chairs import Chairs
from gnomon.errors import OptionError


def test_the_same_seed_gives_the_same_chairs() -> None:
    x, factors = Chairs(16).sample(50, seed=3)
    again, same = Chairs(16).sample(50, seed=3)
    assert np.array_equal(x, again) and np.array_equal(factors.azimuth, same.azimuth)
    assert not np.array_equal(x, Chairs(16).sample(50, seed=4)[0])
    assert np.array_equal(x, Chairs(16).draw(*factors))
    assert abs(factors.azimuth).max() <= 60 and factors.width.min() >= 0.6 and factors.width.max() <= 1.2
    assert set(factors.legs) == {0.0, 1.0, 2.0}


def test_turning_the_other_way_is_the_mirror_image() -> None:
    """But for the one line across the seat, which marks left from right."""
    x = Chairs(24).draw([40, -40], 0.9, 1)[:, 0].astype(int)
    assert (np.abs(x[0] - x[1][:, ::-1]) > 40).mean() < 0.03 < (np.abs(x[0] - x[1]) > 40).mean()


def test_width_moves_the_sides_and_legs_change_below_the_seat_only() -> None:
    narrow, wide = Chairs(24).draw(0, [0.6, 1.2], 0)[:, 0]
    extents = [np.ptp(np.flatnonzero(image.max(0) > 128)) for image in (narrow, wide)]
    assert extents[1] == pytest.approx(2 * extents[0], abs=2)
    styles = Chairs(24).draw(30, 0.9, [0, 1, 2])[:, 0]
    assert np.array_equal(styles[0, :11], styles[1, :11]) and np.array_equal(styles[0, :11], styles[2, :11])
    assert not np.array_equal(styles[0, 14:], styles[1, 14:]) and not np.array_equal(styles[0, 14:], styles[2, 14:])


def test_a_chair_lies_within_the_picture() -> None:
    x, _ = Chairs(24).sample(200)
    edge = np.concatenate([x[:, 0, 0], x[:, 0, -1], x[:, 0, :, 0], x[:, 0, :, -1]], 1)
    assert edge.max() < 30 and x.reshape(200, -1).max(1).min() > 200


def test_a_small_picture_is_refused() -> None:
    with pytest.raises(OptionError, match="8 pixels or more; got 4"):
        Chairs(4)
