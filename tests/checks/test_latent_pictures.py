"""Pictures of a latent space: what stands where, and that drawing works for signals, images, volumes and colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gnomon
from gnomon.checks.latent_pictures import interpolations, latent_map, rate_distortion, shown, strips, traversals
from gnomon.cli import main
from gnomon.data import Image
from gnomon.errors import DataError, OptionError
from gnomon.learned import Learned


def fitted(size: tuple[int, ...], channels: int = 1, latent: int = 3) -> tuple[Learned, np.ndarray]:
    chance = np.random.default_rng(0)
    x = chance.integers(0, 9, (40, channels, *size)).astype(np.uint8)
    return gnomon.fit(
        "autoencoder",
        {"x": x},
        options={"latent": latent, "size": 0.25},
        epochs=1,
        progress=False,
        kind="signal" if len(size) == 1 else None,
    ), x


def test_a_map_shows_codes_by_standard_deviations_and_its_share() -> None:
    chance = np.random.default_rng(1)
    x = (chance.normal(size=(300, 3)) * [5.0, 2.0, 0.5]) @ np.linalg.qr(chance.normal(size=(3, 3)))[0]
    learned = gnomon.fit("pca", x, options={"components": 3}, progress=False, validation=0)
    made = latent_map(learned, x, np.arange(300) % 4)
    np.testing.assert_allclose(made.places.std(0), 1, atol=1e-3)
    codes = learned.encode(x)
    kept = np.linalg.eigvalsh(np.cov(codes.T))
    assert made.share == pytest.approx(kept[1:].sum() / kept.sum(), abs=1e-3)
    back = made.places @ made.axes + made.centre  # the plane's points lie where their codes are projected to
    assert np.square(back - codes).sum() == pytest.approx(kept[0] * 299, rel=0.01)
    assert made.tiles is None and len(made.figure().axes) == 1


@pytest.mark.parametrize(("size", "channels"), [((12,), 1), ((8, 6), 1), ((6, 6), 3), ((4, 5, 6), 1)])
def test_every_sort_of_image_is_drawn(size: tuple[int, ...], channels: int, tmp_path: Path) -> None:
    learned, x = fitted(size, channels)
    latent_map(learned, {"x": x}, np.arange(40) % 3).figure().savefig(tmp_path / "map.png")
    traversals(learned, {"x": x}).savefig(tmp_path / "traversals.png")
    figure = interpolations(learned, {"x": x}, pairs=2, steps=5)
    assert len(figure.axes) == 10
    figure.savefig(tmp_path / "interpolations.png")
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_images_are_shown_as_they_are() -> None:
    x = np.array([[[[0, 8], [4, 2]]]], dtype=np.uint8)
    np.testing.assert_allclose(shown(x, Image(1, (2, 2), levels=9)), [[[0, 1], [0.5, 0.25]]])
    colours = np.random.default_rng(0).random((2, 3, 4, 5))
    assert shown(colours, Image(3, (4, 5))).shape == (2, 4, 5, 3)
    assert shown(np.moveaxis(colours, 1, -1), Image(3, (4, 5), layout="last")).shape == (2, 4, 5, 3)


def test_the_curve_has_its_points_and_errors() -> None:
    axes = rate_distortion({"PCA": {2: (4.0, 0.1), 8: (1.0, 0.05)}, "convolutions": {2: (3.0, 0.2)}}).axes[0]
    lines = {c.get_label(): c.lines[0].get_xydata().tolist() for c in axes.containers}
    assert lines == {"PCA": [[2.0, 4.0], [8.0, 1.0]], "convolutions": [[2.0, 3.0]]}


def test_what_cannot_be_drawn_is_said() -> None:
    learned, x = fitted((8,))
    with pytest.raises(DataError, match="rows of 3 images; got 4"):
        strips(x[:4], learned.spec.x, 3)
    with pytest.raises(DataError, match="one label for each example; got 3 for 40"):
        latent_map(learned, {"x": x}, [1, 2, 3])
    with pytest.raises(DataError, match="two examples or more; got 1"):
        latent_map(learned, {"x": x[:1]}, [1])
    table = gnomon.fit("pca", np.random.default_rng(0).normal(size=(50, 3)), progress=False)
    with pytest.raises(OptionError, match="strips are of images, and x of this run is Vector"):
        traversals(table, np.zeros((2, 3)))


def test_explore_writes_pictures_of_images_and_tables_of_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learned, x = fitted((8, 8))
    learned.save(tmp_path / "run")
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(40) % 2)
    assert main(["explore", str(tmp_path / "run"), str(tmp_path / "x.npz"), "-o", str(tmp_path / "seen")]) == 0
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["interpolations.png", "map.png", "traversals.png"]
    assert main(["fit", "autoencoder", "iris", "-o", str(tmp_path / "iris"), "--epochs", "2", "--set", "latent=2", "--quiet"]) == 0
    assert main(["explore", str(tmp_path / "iris"), "iris", "-o", str(tmp_path / "table"), "--steps", "4"]) == 0
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == ["interpolations.csv", "map.png", "traversals.csv"]
    assert len((tmp_path / "table" / "interpolations.csv").read_text().splitlines()) == 1 + 6 * 4
    capsys.readouterr()
    assert main(["explore", str(tmp_path / "iris"), "iris", "-o", str(tmp_path / "table")]) != 0
    assert "already exists and is not empty" in capsys.readouterr().err
    assert main(["explore", str(tmp_path / "iris"), "iris", "-o", str(tmp_path / "other"), "--label", "colour"]) != 0
    assert "--label names 'colour', which is no column" in capsys.readouterr().err
