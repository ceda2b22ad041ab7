"""Images as summary columns in one, two and three dimensions, grey and in colour; and all the way through the one call."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gnomon.checks import check
from gnomon.checks.gathering.features import enriched
from gnomon.checks.gathering.images import image_columns
from gnomon.checks.gathering.sources import Reading, case_of_data
from gnomon.checks.points import points
from gnomon.checks.statistics.columns import w1
from gnomon.checks.statistics.spectrum import power_spectrum

SHAPES = [(1, 20), (3, 16), (1, 6, 6), (3, 6, 5), (1, 4, 4, 4), (2, 3, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES)
def test_summaries_are_those_of_each_image(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(40, *shape)), rng.normal(size=(30, *shape))
    columns, values = image_columns(real, generated, real[:5])
    assert [column.name for column in columns[:3]] == ["mean intensity", "contrast", "roughness"] and len(values) == 3
    image = generated[7]
    steps = [np.abs(np.diff(image, axis=axis)).ravel() for axis in range(1, image.ndim) if image.shape[axis] > 1]
    assert values[1][7, :3] == pytest.approx([image.mean(), image.std(), np.concatenate(steps).mean()])
    assert np.allclose(values[0][:5], values[2])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((24,), "signal"), ((2, 24), "signal"), ((8, 8, 3), "image"), ((3, 8, 8), "image"), ((1, 5, 5, 5), "image")],
)
def test_every_sort_of_image_has_summaries_features_and_a_spectrum(shape: tuple[int, ...], kind: str) -> None:
    rng = np.random.default_rng(1)
    real, generated = rng.normal(size=(330, *shape)), 0.7 * rng.normal(size=(300, *shape))
    case, _ = case_of_data(real, generated, Reading(kind=kind), budget="1s", seed=0)
    made = enriched(case)
    sides = made.case.sides
    assert made.encoder is not None and sides is not None and "the code of an autoencoder" in made.notes[0]
    assert sides.real.embedding is not None and sides.real.embedding.shape == (220, min(24, math.prod(shape) // 2))
    assert power_spectrum(made.case)[0].p < 0.01
    assert min(row.p for row in w1(made.case) if row.where == "contrast") < 0.01
    assert points(sides).space == "features of an encoder"


def test_colour_images_go_through_the_one_call(tmp_path) -> None:  # noqa: ANN001
    rng = np.random.default_rng(2)
    real, generated = (rng.integers(0, 256, (310, 6, 6, 3)).astype(np.uint8) for _ in range(2))
    report = check(real, generated, budget="1s")
    assert not report.findings and report["power_spectrum"] and report["w1"]
    assert report.save(tmp_path).is_file() and (tmp_path / "features" / "run.json").is_file()
