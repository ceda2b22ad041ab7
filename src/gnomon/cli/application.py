"""The table of verbs: which function answers to which name, in the order `gnomon --help` shows them.

The functions themselves stand in the files of their groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

import gnomon
from gnomon.cli import abilities, demo, exploring, fitting, judging, searching, showing

ABOUT = """Learn from examples what cannot be seen directly: fit, then sample, score, predict, encode, and check.

DATA is a file (.csv .tsv .parquet .feather .npy .npz .h5 .root), a folder of images, or a bundled name (digits, wine, …).

\b
Examples:
  gnomon fit flow events.parquet --given energy --epochs 50 -o runs/events
  gnomon sample runs/events -n 10000 --given energy=50 -o samples.parquet
  gnomon check runs/events heldout.parquet
  gnomon demo
"""

VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "fit": (fitting.fit, "Train a model on data and keep it in a run folder."),
    "search": (searching.search, "Look for the settings with which a model learns best."),
    "sample": (abilities.sample, "Draw new examples."),
    "score": (abilities.score, "Log-probability of each example; with --anomaly, how strange it is."),
    "predict": (abilities.predict, "Predict the target of each example."),
    "encode": (abilities.encode, "Turn examples into codes."),
    "decode": (abilities.decode, "Turn codes back into examples."),
    "reconstruct": (abilities.reconstruct, "Each example as the model tells it again."),
    "explore": (exploring.explore, "Pictures of a run's codes: a map, what each number does, walks."),
    "check": (judging.check, "Judge a run on unseen data, or generated data against real data."),
    "compare": (judging.compare, "Rank runs on the same held-out data."),
    "doctor": (judging.doctor, "What a run's history tells, and what to try."),
    "list": (showing.list_names, "Names of models, networks, data sets, statistics, loggers."),
    "show": (showing.show, "Options of a model or network, or what a run holds."),
    "demo": (demo.demo, "The whole job on bundled data, in about two minutes."),
}


def command() -> Any:
    """The whole command line as one callable."""
    app = typer.Typer(name="gnomon", help=ABOUT, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback()(_options)
    for name, (function, short) in VERBS.items():
        app.command(name, short_help=short)(function)
    return typer.main.get_command(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gnomon {gnomon.__version__}")
        raise typer.Exit


def _options(version: bool = typer.Option(False, "--version", help="Print the version.", callback=_say_version, is_eager=True)) -> None:
    pass


_options.__doc__ = ABOUT
