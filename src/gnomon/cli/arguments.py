"""Arguments that several verbs share, and how their texts are read.

Types and help of the options stand here once; which verb has which is seen in the verbs' signatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.errors import OptionError, RunError

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that `gnomon fit … -o RUN` wrote.")]
Data = Annotated[str, typer.Argument(metavar="DATA", help="A file, a folder of images, or a bundled name.")]
Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="FILE", help="Where to write: .parquet .csv .tsv .feather .npy .npz, or a folder for images.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Device = Annotated[str, typer.Option(metavar="D", help="cpu or cuda.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything random.")]
HOW_STRANGE = "How strangeness is told: reconstruction, bound, density or latent; by default the model's own way."
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def new_target(path: Path, overwrite: bool) -> Path:
    """`path`, if it may be written: said before the work, not after it. Raises RunError if something is there."""
    if path.exists() and not overwrite:
        raise RunError(f"'{path}' already exists; choose another name or add --overwrite")
    return path


def listed(texts: Sequence[str] | None) -> list[str]:
    """Names from repeated options, each of which may hold several separated by commas.

    Example:
        >>> listed(["a,b", "c"])
        ['a', 'b', 'c']
    """
    return [name.strip() for text in texts or () for name in text.split(",") if name.strip()]


def assignments(texts: Sequence[str] | None, option: str, *, several: bool = False) -> dict[str, str]:
    """``name=value`` texts as a dict; with `several`, one text may hold more of them, separated by commas.

    Raises:
        OptionError: a text without ``=``, or a name said twice.

    Example:
        >>> assignments(["a=1,b=x=y"], "--given", several=True)
        {'a': '1', 'b': 'x=y'}
    """
    parts: list[str] = []
    for text in texts or ():
        for piece in text.split(",") if several else [text]:
            if several and "=" not in piece and parts:
                parts[-1] += "," + piece  # a comma inside a value
            else:
                parts.append(piece)
    made: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise OptionError(f"{option} wants name=value; got '{part}'")
        if name.strip() in made:
            raise OptionError(f"{option} names '{name.strip()}' twice")
        made[name.strip()] = value.strip()
    return made


def nested(values: dict[str, str], option: str) -> dict[str, Any]:
    """Names with a dot as tables of their own, for options that hold options.

    Raises:
        OptionError: a name stands for a value and for a table.

    Example:
        >>> nested({"codes": "64", "prior.width": "8"}, "--set")
        {'codes': '64', 'prior': {'width': '8'}}
    """
    made: dict[str, Any] = {}
    for name, value in values.items():
        table, (*way, last) = made, name.split(".")
        for key in way:
            table = table.setdefault(key, {})
            if not isinstance(table, dict):
                raise OptionError(f"{option} names '{key}' both as a value and as a table of options")
        if last in table:
            raise OptionError(f"{option} names '{last}' both as a value and as a table of options")
        table[last] = value
    return made


def supports(texts: Sequence[str] | None) -> dict[str, str]:
    """``name:support`` texts as a dict; the name may itself hold colons.

    Raises:
        OptionError: a text without a colon.

    Example:
        >>> supports(["phi:periodic(-pi,pi)"])
        {'phi': 'periodic(-pi,pi)'}
    """
    made = {}
    for text in texts or ():
        name, colon, support = text.rpartition(":")
        if not colon or not name.strip() or not support.strip():
            raise OptionError(f"--column wants name:support, such as 'energy:positive'; got '{text}'")
        made[name.strip()] = support.strip()
    return made


def said(**options: Any) -> dict[str, Any]:
    """Those options that were given: neither None nor empty."""
    return {name: value for name, value in options.items() if value is not None and value != [] and value != {}}
