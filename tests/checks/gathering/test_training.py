"""How a run was trained stands in its report: losses, and the doctor's lines with their epochs."""

from __future__ import annotations

import gnomon
from gnomon.checks.gathering.training import training_section


def test_losses_and_lines_are_shown_with_their_epochs() -> None:
    history = [
        {"epoch": 1, "step": 3, "train/loss": 2.0, "validation/loss": 2.5, "validation/accuracy": 0.5},
        {"epoch": 2, "step": 6, "train/loss": float("nan"), "validation/loss": 1.5, "doctor": ["vanishing <gradient>", "dead units"]},
        {"epoch": 3, "step": 9, "train/loss": 1.0, "validation/loss": 1.0},
    ]
    section = training_section(history)
    assert [one.label for one in section.curves[0].series] == ["train: loss", "validation: loss"]
    assert [one.x.tolist() for one in section.curves[0].series] == [[1, 3], [1, 2, 3]]
    assert section.tables[0].rows == (("2", "vanishing <gradient>"), ("2", "dead units"))
    assert training_section([]) is None


def test_a_report_shows_them(tmp_path) -> None:
    learned = gnomon.fit("classifier", "wine", lr=1e-9, epochs=30, progress=False)
    assert any("too low" in line for record in learned.history for line in record.get("doctor", ()))
    gnomon.check(learned, "wine").save(tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Loss by epoch" in page and "What the doctor said" in page and "the learning rate 1e-09 is too low" in page
