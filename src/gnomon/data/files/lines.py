"""Files of lines: one text a line, or of molecules one SMILES at the head of each line; read whole, and written.

How a text falls apart into symbols is decided in `encoding.tokens`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gnomon.data.files.arrays import one_line
from gnomon.data.files.reading import Arrays
from gnomon.errors import DataError

SUFFIXES = (".txt", ".smi", ".smiles")
_MOLECULES = (".smi", ".smiles")


def read_lines(file: Path) -> Arrays:
    """The lines of a file as texts; of molecules what stands before the first blank. An empty line is an empty text.

    Raises:
        DataError: the file cannot be read, its bytes are not UTF-8, or a line of molecules is empty.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "molecules.smi"
        >>> _ = file.write_text("CCO ethanol\\nC methane\\n")
        >>> read_lines(file).x
        ['CCO', 'C']
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({one_line(error)})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{file}: line {line} holds bytes that are not UTF-8; save the file as UTF-8") from error
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if file.suffix.lower() not in _MOLECULES:
        return Arrays(lines, name=str(file), kind="tokens")
    heads = [line.split(maxsplit=1)[:1] for line in lines]
    empty = next((number for number, head in enumerate(heads, 1) if not head), None)
    if empty is not None:
        raise DataError(f"{file}: line {empty} is empty; expected a SMILES at its head")
    return Arrays([head[0] for head in heads], name=str(file), kind="smiles")


def write_lines(texts: Sequence[str], file: Path, target: Path) -> None:
    """Texts to a file, one a line.

    Args:
        texts: without line breaks.
        file: where they are written.
        target: what the file is called in messages.

    Raises:
        DataError: a text holds a line break.
    """
    broken = next((number for number, text in enumerate(texts, 1) if "\n" in text or "\r" in text), None)
    if broken is not None:
        raise DataError(f"{target}: text {broken} holds a line break, which a file of lines cannot; write .csv or .parquet")
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="")
