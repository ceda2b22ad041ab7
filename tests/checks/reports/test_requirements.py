"""Demands such as ``c2st_auc<0.6``: read strictly, and met only by numbers."""

from __future__ import annotations

import pytest

from gnomon.checks import Report, Statistic, parse_demand, requirements
from gnomon.errors import OptionError

REPORT = Report([
    Statistic("w1", "a", 0.1),
    Statistic("w1", "b[0] < 3", 0.4),
    Statistic("c2st_auc", "all columns", 0.55, null=0.5, null_error=0.01, p=1e-4, claim="told apart"),
    Statistic("mmd", "all columns", float("nan")),
])  # fmt: skip


@pytest.mark.parametrize(
    ("demand", "failures"),
    [
        ("c2st_auc<0.6", 0),
        ("c2st_auc < .55", 1),
        ("c2st_auc<=0.55", 0),
        ("c2st_auc>=0.55", 0),
        ("c2st_auc>0.55", 1),
        ("w1<0.2", 1),
        ("w1<0.05", 2),
        ("w1[a]<0.2", 0),
        ("w1[b[0] < 3]<0.5", 0),
        ("mmd<1e9", 1),
        ("findings<2", 0),
        ("findings<1", 1),
        ("c2st_auc<6e-1", 0),
    ],
)
def test_demands(demand: str, failures: int) -> None:
    assert len(requirements(REPORT, [demand])) == failures


def test_failures_say_what_came() -> None:
    assert requirements(REPORT, ["w1<0.2", "c2st_auc<0.6"]) == ["w1<0.2 is not met: w1 of b[0] < 3 is 0.4"]


@pytest.mark.parametrize("text", ["", "w1", "w1<", "<3", "w1=3", "w1==3", "w1<x", "w1<1<2", "w 1<3", "w1<nan"])
def test_what_is_no_demand_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="a demand looks like"):
        parse_demand(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("c2st<1", "did you mean 'c2st_auc'"), ("w2<1", "known: w1, c2st_auc, mmd, findings"), ("w1[aa]<1", "place 'aa'")],
)
def test_unknown_names_are_named(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        requirements(REPORT, [text])
