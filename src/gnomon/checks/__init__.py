"""Floor 6: whether what was learned is any good: statistics with errors and nulls, findings in plain words, reports."""

from gnomon.checks.case import Case, Likelihood, Predictions, Reconstruction
from gnomon.checks.effort import Effort
from gnomon.checks.judging import check, judge
from gnomon.checks.reports.report import Report
from gnomon.checks.reports.requirements import parse_demand, requirements
from gnomon.checks.sides import Side, Sides
from gnomon.checks.statistic import LeftOut, Measure, Statistic

__all__ = [
    "Case",
    "Effort",
    "LeftOut",
    "Likelihood",
    "Measure",
    "Predictions",
    "Reconstruction",
    "Report",
    "Side",
    "Sides",
    "Statistic",
    "check",
    "judge",
    "parse_demand",
    "requirements",
]
