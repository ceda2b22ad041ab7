"""Floor 6: whether what was learned is any good: statistics with errors and nulls, findings in plain words, reports."""

from gnomon.checks.case import Case, Latent, Likelihood, Places, Predictions, Ranks, Reconstruction
from gnomon.checks.comparing import Comparison, compare
from gnomon.checks.effort import Effort
from gnomon.checks.judging import check, judge
from gnomon.checks.reports.report import Report
from gnomon.checks.reports.requirements import parse_demand, requirements
from gnomon.checks.sides import Side, Sides
from gnomon.checks.statistic import LeftOut, Measure, Statistic

__all__ = [
    "Case",
    "Comparison",
    "Effort",
    "Latent",
    "LeftOut",
    "Likelihood",
    "Measure",
    "Places",
    "Predictions",
    "Ranks",
    "Reconstruction",
    "Report",
    "Side",
    "Sides",
    "Statistic",
    "check",
    "compare",
    "judge",
    "parse_demand",
    "requirements",
]
