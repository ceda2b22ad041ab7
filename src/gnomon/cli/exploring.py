"""`gnomon explore`: pictures and tables of what a run's codes mean.

Walks are `gnomon.learned.Latent`'s, pictures `gnomon.checks.latent_pictures`'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import Data, Debug, Device, Overwrite, Run
from gnomon.errors import OptionError, RunError

WALKS = 6
"""So many walks from example to example are made."""


def explore(
    run: Run,
    data: Data,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="For the pictures and tables.")],
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column by which the map is coloured; by default the target.")] = None,
    spherical: Annotated[bool, typer.Option("--spherical", help="Turn from code to code about the origin.")] = False,
    steps: Annotated[int, typer.Option(metavar="N", help="Examples in a walk.")] = 9,
    device: Device = "cpu",
    overwrite: Overwrite = False,
    debug: Debug = False,
) -> None:
    """Draw a map of the codes, what each number of a code does, and walks from example to example.

    Writes map.png, and for images traversals.png and interpolations.png, for tables and texts the same walks as .csv.

    \b
    Examples:
      gnomon explore runs/digits digits -o digits-latent/
      gnomon explore runs/events events.parquet -o latent/ --label particle
    """
    from gnomon.checks import latent_pictures
    from gnomon.data import Image, Tokens, Vector
    from gnomon.learned import Latent, load
    from gnomon.options import whole

    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not overwrite)):
        raise RunError(f"'{out}' already exists and is not empty; choose another folder or add --overwrite")
    steps = whole(steps, "--steps", least=2)
    learned = load(run, device=device)
    raw = learned.read(data)
    latent = Latent(learned, raw)
    given = None if raw.given is None else _first_condition(raw.given)
    shown = latent_pictures.latent_map(learned, raw, _labels(data, label, len(raw)), given=given)
    out.mkdir(parents=True, exist_ok=True)
    shown.figure().savefig(out / "map.png", dpi=150)
    written = [out / "map.png"]
    if isinstance(learned.spec.x, Image):
        latent_pictures.traversals(learned, raw).savefig(out / "traversals.png", dpi=150)
        latent_pictures.interpolations(learned, raw, pairs=WALKS, steps=steps, spherical=spherical).savefig(
            out / "interpolations.png", dpi=150
        )
        written += [out / "traversals.png", out / "interpolations.png"]
    elif isinstance(learned.spec.x, (Vector, Tokens)):
        written += _tables(latent, raw, out, steps, spherical)
    for path in written:
        print(path)


def _tables(latent: Any, raw: Any, out: Path, steps: int, spherical: bool) -> list[Path]:
    """The walks of a table or of texts, as tables."""
    import pyarrow as pa

    from gnomon.data import write

    width = latent.codes.shape[1]
    moved = [latent.traverse(raw[:1], dimension) for dimension in range(width)]
    pairs = min(WALKS, len(raw) // 2)
    tables = {
        "traversals": moved,
        "interpolations": [latent.interpolate(raw[: 2 * pairs : 2], raw[1 : 2 * pairs : 2], steps, spherical=spherical)],
    }
    written = []
    for name, parts in tables.items():
        write(pa.concat_tables([_table(part) for part in parts]), out / f"{name}.csv", overwrite=True)
        written.append(out / f"{name}.csv")
    return written


def _table(part: Any) -> Any:
    """Examples as a table: as they are, columns x0, x1, … of an array, or texts as one column."""
    import pyarrow as pa

    if isinstance(part, pa.Table):
        return part
    return pa.table({"text": part} if isinstance(part, list) else {f"x{i}": part[:, i] for i in range(part.shape[1])})


def _first_condition(given: Any) -> Any:
    """That of the first example, for all that is decoded."""
    from gnomon.learned.conditions import Encoded

    return Encoded(given[:1])


def _labels(source: str, label: str | None, rows: int) -> Any:
    """The column `label`, or the target that comes with the data, or None."""
    import numpy as np

    from gnomon.data import read

    found: Any = read(source)
    if label is None and not hasattr(found, "columns"):
        return None if found.y is None or np.ndim(found.y) != 1 or len(found.y) != rows else np.asarray(found.y)
    name = label or found.target or found.suggested
    if name is None:
        return None
    if not hasattr(found, "columns") or name not in found.columns.column_names:
        there = ", ".join(found.columns.column_names[:8]) if hasattr(found, "columns") else "none"
        raise OptionError(f"--label names '{name}', which is no column of '{source}'; it has: {there}")
    values = np.asarray(found.columns[name].to_pylist())
    return values if len(values) == rows else None
