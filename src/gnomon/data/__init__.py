"""Floor 0: what one example is, and how data becomes examples."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gnomon.data.examples import Examples, Ragged
from gnomon.data.kinds import (
    Bounded,
    Categorical,
    Column,
    ConditionKind,
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
    from gnomon.data.encoding.blank import blank
    from gnomon.data.encoding.infer import Prepared, prepare
    from gnomon.data.encoding.summary import describe
    from gnomon.data.encoding.tables import as_table, decode, fingerprint, join, stack
    from gnomon.data.files.reading import load, read
    from gnomon.data.files.row_files import RowFile, open_rows
    from gnomon.data.files.writing import write
    from gnomon.data.streams import Streamed

# Reading and writing need Arrow, which models and networks do not: imported when first asked for.
_LAZY = {
    "blank": "encoding.blank",
    "Prepared": "encoding.infer",
    "prepare": "encoding.infer",
    "load": "files.reading",
    "read": "files.reading",
    "RowFile": "files.row_files",
    "open_rows": "files.row_files",
    "Streamed": "streams",
    "describe": "encoding.summary",
    "as_table": "encoding.tables",
    "decode": "encoding.tables",
    "fingerprint": "encoding.tables",
    "join": "encoding.tables",
    "stack": "encoding.tables",
    "write": "files.writing",
}

__all__ = [
    "Bounded",
    "Categorical",
    "Column",
    "ConditionKind",
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
    "blank",
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
