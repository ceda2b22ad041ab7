"""A room imports only from rooms below it: read from the source of every file, imports inside functions included."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "gnomon"

FLOORS = [
    {"errors", "options", "registry"},
    {"data"},
    {"blocks"},
    {"networks"},
    {"models"},
    {"learned"},
    {"training"},
    {"checks", "explain", "selection"},
    {"cli", "lab"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
APART = ("checks", "explain", "selection", "cli", "lab")  # rooms that do not import from their neighbours either
FACE = {"__init__", "__main__"}  # they hand names on from every floor
FROM_THE_FACE = {"__version__"}  # what a room may take from `gnomon` itself

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(file: Path) -> str:
    """The room a file belongs to: its folder, or its own name."""
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(source: str, file: Path) -> list[tuple[int, str]]:
    """(line, room) of everything a file imports from gnomon; "" stands for the face itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, (alias.name + ".").split(".")[1]) for alias in node.names if alias.name.split(".")[0] == "gnomon"]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parts = ["gnomon", *file.relative_to(SOURCE).parts[:-1]]
                module = ".".join([*parts[: len(parts) - node.level + 1], *([module] if module else [])])
            if module == "gnomon":
                found += [(node.lineno, "" if a.name in FROM_THE_FACE else a.name) for a in node.names if a.name not in FROM_THE_FACE]
            elif module.startswith("gnomon."):
                found.append((node.lineno, module.split(".")[1]))
    return found


def wrong(source: str, file: Path) -> list[str]:
    """Imports that point upwards, in words."""
    room = room_of(file)
    complaints = []
    for line, other in imported(source, file):
        if room in FACE or other == room:
            continue
        if other not in FLOOR and not (other == "" and room in ("cli", "lab")):
            complaints.append(f"{file.name}:{line} imports gnomon.{other}, which is no room")
        elif other and FLOOR[other] > FLOOR[room]:
            complaints.append(f"{file.name}:{line} ({room}) imports from {other}, a floor above")
        elif other and FLOOR[other] == FLOOR[room] and len(FLOORS[FLOOR[room]]) > 1 and room in APART:
            complaints.append(f"{file.name}:{line} ({room}) imports from {other}, its neighbour")
    return complaints


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_point_downwards(file: Path) -> None:
    assert room_of(file) in FACE | set(FLOOR), f"{file} stands on no floor"
    assert wrong(file.read_text(encoding="utf-8"), file) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("data/x.py", "import gnomon.models"),
        ("models/x.py", "from gnomon.training import fit"),
        ("blocks/x.py", "def f():\n    from gnomon import networks"),
        ("blocks/x.py", "from ..networks import make"),
        ("checks/x.py", "from gnomon.cli import main"),
        ("data/x.py", "from gnomon import nonsense"),
        ("data/x.py", "import gnomon"),
        ("learned.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from gnomon.training import fit"),
    ],
)
def test_an_import_that_points_upwards_is_seen(room: str, source: str) -> None:
    assert wrong(source, SOURCE / room)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("data/x.py", "from gnomon.errors import DataError\nfrom gnomon import registry\nfrom gnomon.data.kinds import Real"),
        ("training/x.py", "from gnomon import __version__, learned\nfrom . import loop"),
        ("cli/x.py", "import gnomon\nfrom gnomon import checks"),
        ("models/x.py", "import gnomonic"),
    ],
)
def test_an_import_that_points_downwards_is_not(room: str, source: str) -> None:
    assert wrong(source, SOURCE / room) == []
