"""Floor 0: what one example is, and how data becomes examples."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gnomon.data.examples import Examples, Ragged
from gnomon.data.kinds import (
    Bounded,
    Categorical,
    Column,
    Image,
    Integer,
    Kind,
    Label,
    NonNegative,
    Periodic,
    Positive,
    Real,
    Sequence,
    Set,
    Spec,
    Support,
    Tokens,
    Vector,
    parse_support,
)
from gnomon.data.scaling import Scaling
from gnomon.data.seeds import mix
from gnomon.data.sources import InMemory, Source
from gnomon.data.splits import split

if TYPE_CHECKING:
    from gnomon.data.infer import Prepared, prepare
    from gnomon.data.reading import load, read
    from gnomon.data.row_files import RowFile, open_rows
    from gnomon.data.streams import Streamed
    from gnomon.data.summary import describe
    from gnomon.data.tables import as_table, decode, fingerprint, join, stack
    from gnomon.data.writing import write

# Reading and writing need Arrow, which models and networks do not: imported when first asked for.
_LAZY = {
    "Prepared": "infer",
    "prepare": "infer",
    "load": "reading",
    "read": "reading",
    "RowFile": "row_files",
    "open_rows": "row_files",
    "Streamed": "streams",
    "describe": "summary",
    "as_table": "tables",
    "decode": "tables",
    "fingerprint": "tables",
    "join": "tables",
    "stack": "tables",
    "write": "writing",
}

__all__ = [
    "Bounded",
    "Categorical",
    "Column",
    "Examples",
    "Image",
    "InMemory",
    "Integer",
    "Kind",
    "Label",
    "NonNegative",
    "Periodic",
    "Positive",
    "Prepared",
    "Ragged",
    "Real",
    "RowFile",
    "Scaling",
    "Sequence",
    "Set",
    "Source",
    "Spec",
    "Streamed",
    "Support",
    "Tokens",
    "Vector",
    "as_table",
    "decode",
    "describe",
    "fingerprint",
    "join",
    "load",
    "mix",
    "open_rows",
    "parse_support",
    "prepare",
    "read",
    "split",
    "stack",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gnomon.data' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"gnomon.data.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
