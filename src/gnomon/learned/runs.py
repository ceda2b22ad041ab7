"""The run folder: what `run.json`, `model.safetensors` and `history.jsonl` hold, how they are written, and how they are checked when read.

Training adds its own state beside them; abilities live in `learned`. Names in a file are looked up in the registry and never imported.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gnomon import __version__, registry
from gnomon.data import Spec
from gnomon.errors import DataError, GnomonError, OptionError, RunError
from gnomon.learned.chunks import single_precision
from gnomon.models import Model
from gnomon.options import parse

FORMAT = 1
"""Version of the run folder's format; a folder with a larger one is refused by name."""

RUN, WEIGHTS, HISTORY = "run.json", "model.safetensors", "history.jsonl"
PARTIAL = ".partial"
"""How the names of files end that are still being written; they begin with a dot."""

_FIELDS: dict[str, tuple[type, ...]] = {
    "gnomon": (str,),
    "recipe": (dict,),
    "spec": (dict,),
    "split": (dict, type(None)),
    "seed": (int, type(None)),
    "data": (dict,),
    "weights": (dict, type(None)),
    "decisions": (dict,),
    "environment": (dict,),
    "timing": (dict,),
}
_REQUIRED = ("recipe", "spec", "weights")
_LARGEST = 256 * 2**20  # bytes of run.json: a list of row indices fits, a file that fills the memory does not


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder that holds a run."""
    return (Path(path) / RUN).is_file()


def contents(folder: Path) -> list[Path]:
    """What a folder holds, without the half-written files that a killed process left behind."""
    return [entry for entry in folder.iterdir() if not _is_partial(entry)] if folder.is_dir() else []


def sweep(folder: Path) -> None:
    """Remove the half-written files that a killed process left behind; to be called while nobody writes there."""
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _is_partial(entry):
            entry.unlink(missing_ok=True)


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


# ---- writing ------------------------------------------------------------------------------------------------------


def free_folder(folder: str | os.PathLike[str], overwrite: bool) -> Path:
    """`folder` as a path, if a run may be written there.

    Raises:
        RunError: it is a file, or a folder that holds something while `overwrite` is false.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"'{folder}' is a file; a run needs a folder")
    if contents(folder) and not overwrite:
        raise RunError(f"'{folder}' exists and is not empty; choose another folder or pass overwrite=True")
    return folder


def write_run(folder: str | os.PathLike[str], info: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write `model.safetensors`, then `run.json` with its hash; each file appears whole or not at all.

    Args:
        folder: made if it does not exist; other files in it are left alone.
        info: the fields of `run.json` (recipe, spec, split, seed, data, decisions, environment, timing); the rest is filled in.
        tensors: weights by name: ``model.…`` for the model, ``scaling.…`` for the scaling, ``calibration.…`` for held-out scores.

    Returns:
        What was written to `run.json`.

    Raises:
        RunError: a field has the wrong type, or the folder cannot be written.
    """
    folder = Path(folder)
    make_folder(folder)
    weights = write_weights(folder / WEIGHTS, tensors)
    return write_info(folder, {**info, "weights": weights})


def write_info(folder: str | os.PathLike[str], info: Mapping[str, Any]) -> dict[str, Any]:
    """Write `run.json` alone. ``info["weights"]`` is None as long as there are no finished weights."""
    blank: dict[str, Any] = {"split": None, "seed": None, "data": {}, "weights": None, "decisions": {}, "timing": {}}
    whole = {"format": FORMAT, "gnomon": __version__, **blank, "environment": environment(), **info}
    whole.update(format=FORMAT, gnomon=__version__)
    whole = {key: plain(value) for key, value in whole.items()}
    _validate(whole, Path(folder))
    text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    with said_in_words(Path(folder) / RUN):
        replaced(Path(folder) / RUN, lambda path: path.write_text(text, encoding="utf-8"))
    return whole


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Write tensors as safetensors (tied and strided ones are copied) and return the file's name and sha256."""
    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    with said_in_words(path):
        replaced(path, lambda temporary: save_file(copies, temporary))
        return {"file": path.name, "sha256": sha256(path)}


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_model(model: Model) -> dict[str, Any]:
    """The part of a recipe that says how to build `model` again: its registered name (or None), class and options."""
    kind = type(model)
    options = {key: plain(value) for key, value in model.options_.items()}
    return {"model": registry.models.name_of(kind), "class": f"{kind.__module__}:{kind.__qualname__}", "options": options}


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: tuples become lists, infinities texts, a user's own module ``{"$module": "file:Class"}``."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, Tensor) or (hasattr(value, "tolist") and hasattr(value, "dtype")):
        return plain(value.tolist())
    if isinstance(value, nn.Module):
        return {"$module": f"{type(value).__module__}:{type(value).__qualname__}"}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def environment() -> dict[str, Any]:
    """Versions and machine, as they are written to `run.json`."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }


def replaced(path: Path, write: Callable[[Path], Any]) -> None:
    """Write to a temporary neighbour, then put it in place in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises RunError where that cannot be done."""
    with said_in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def said_in_words(path: Path) -> Iterator[None]:
    """Inside the block an error of the disk (full, read-only, gone) becomes a RunError that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot write '{path}': {disk_error(error)}; what was there before is kept") from error


def disk_error(error: Exception) -> str:
    """What the system says, without the name of the temporary file."""
    number = re.search(r"os error (\d+)", str(error))  # safetensors hands the system's own errors on as text
    return (error.strerror if isinstance(error, OSError) else os.strerror(int(number[1])) if number else None) or _one_line(error)


# ---- reading ------------------------------------------------------------------------------------------------------


def read_run(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The checked content of ``folder/run.json``.

    Raises:
        RunError: there is no such file, it is damaged, or its format is newer than this version of Gnomon knows.
    """
    folder = Path(folder)
    path = folder / RUN
    if not path.is_file():
        what = "holds no run.json" if folder.is_dir() else "does not exist" if not folder.exists() else "is a file"
        raise RunError(f"'{folder}' is not a run folder (it {what}); give the folder that `gnomon fit … -o RUN` wrote")
    if path.stat().st_size > _LARGEST:
        raise RunError(f"'{path}' is larger than {_LARGEST >> 20} MiB; this is not a run.json that Gnomon wrote")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise RunError(f"'{path}' is damaged: it is not valid JSON ({_one_line(error)}); take it from a copy, or fit again") from error
    if not isinstance(info, dict):
        raise RunError(f"'{path}' is damaged: it holds {type(info).__name__}, not an object; take it from a copy, or fit again")
    _validate(info, folder)
    return info


def read_weights(folder: str | os.PathLike[str], info: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """The tensors of the run, on the CPU, after their file's sha256 was compared with the one in `run.json`.

    Returns:
        Tensors by name, in the groups "model", "scaling" and "calibration".

    Raises:
        RunError: the run is unfinished, or the file is missing, changed or no safetensors file.
    """
    folder = Path(folder)
    if info["weights"] is None:
        raise RunError(f"run '{folder}' has no finished weights yet; go on with `gnomon fit --resume '{folder}'`")
    path = folder / info["weights"]["file"]
    if not path.is_file():
        raise RunError(f"run '{folder}' is damaged: '{path.name}' is missing; take it from a copy, or `gnomon fit --resume '{folder}'`")
    found = sha256(path)
    if found != info["weights"]["sha256"]:
        raise RunError(
            f"'{path}' was changed after it was written (sha256 {found[:12]}…, run.json says {info['weights']['sha256'][:12]}…); "
            f"take it from a copy, or `gnomon fit --resume '{folder}'`, or fit again"
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise RunError(f"'{path}' is no readable safetensors file ({_one_line(error)}); take it from a copy, or fit again") from error
    groups: dict[str, dict[str, Tensor]] = {"model": {}, "scaling": {}, "calibration": {}}
    for name, value in tensors.items():
        group, _, rest = name.partition(".")
        if group not in groups:
            raise RunError(f"'{path}' holds the unknown entry '{name}'; take it from a copy, or fit again")
        groups[group][rest] = value
    return groups


def read_history(folder: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of ``history.jsonl``, oldest first; an empty list if there is none.

    A last line cut short (the process was killed while writing) is left out. Raises RunError for a damaged line before it.
    """
    path = Path(folder) / HISTORY
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    history = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if number == len(lines):
                break
            raise RunError(f"'{path}' line {number} is damaged ({_one_line(error)}); remove that line") from error
        history.append(entry)
    return history


def write_history(folder: str | os.PathLike[str], history: list[dict[str, Any]]) -> None:
    """Write ``history.jsonl`` whole, one object a line."""
    text = "".join(json.dumps(entry, ensure_ascii=False, default=plain) + "\n" for entry in history)
    with said_in_words(Path(folder) / HISTORY):
        replaced(Path(folder) / HISTORY, lambda path: path.write_text(text, encoding="utf-8"))


def build_model(info: Mapping[str, Any], run: str | os.PathLike[str], model: Any = None) -> Model:
    """A fresh model (weights not yet loaded) as the recipe of a run describes it.

    Args:
        info: what `read_run` returned.
        run: the folder, for messages.
        model: None, or the user's own: a Model instance, a Model class (built with the saved options) or a factory ``spec -> Model``.

    Raises:
        RunError: the model is not registered, has options that cannot be saved, or does not fit the saved spec.
    """
    try:
        spec = Spec.from_json(info["spec"])
    except DataError as error:
        raise RunError(f"run '{run}': {error}") from error
    if isinstance(model, nn.Module):
        return _fitting(model, spec, run)
    if model is not None and not isinstance(model, type):
        return _fitting(model(spec), spec, run)
    recipe = info["recipe"]
    found = model if isinstance(model, type) else _registered(recipe, run)
    own = [key for key, value in recipe["options"].items() if isinstance(value, dict) and "$module" in value]
    if own:
        raise RunError(
            f"run '{run}' was fitted with your own module {recipe['options'][own[0]]['$module']} as option '{own[0]}'; "
            "build the model yourself and pass it: gnomon.load(run, model=…)"
        )
    try:
        with single_precision():
            return found(spec, **parse(found, recipe["options"], name=recipe.get("model") or found.__name__))
    except GnomonError as error:
        raise RunError(f"run '{run}' cannot be built again: {error}") from error
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise RunError(f"run '{run}' cannot be built again: its recipe is damaged ({_one_line(error)})") from error


def _registered(recipe: Mapping[str, Any], run: str | os.PathLike[str]) -> type[Model]:
    name, path = recipe.get("model"), str(recipe.get("class", "an unknown class"))
    if name is None:
        module, _, qualified = path.partition(":")
        raise RunError(
            f"run '{run}' needs your model class '{qualified}' from '{module}', which has no registered name; "
            "import it yourself and pass it: gnomon.load(run, model=…)"
        )
    try:
        return registry.models[name]
    except OptionError as error:
        raise RunError(
            f"run '{run}' needs the model '{name}' ({path}), which is not registered here; import it and call "
            f"gnomon.register('{name}', …) first, or pass it: gnomon.load(run, model=…)"
        ) from error


def _fitting(model: Any, spec: Spec, run: str | os.PathLike[str]) -> Model:
    if not isinstance(model, Model):
        raise RunError(f"run '{run}': model= wants a gnomon Model, a Model class or a factory; got {type(model).__name__}")
    if model.spec != spec:
        raise RunError(
            f"run '{run}': the given {type(model).__name__} was built for other data than the run's; build it from the run's spec"
        )
    return model


def _validate(info: Mapping[str, Any], folder: Path) -> None:
    """Check names and types of the fields of `run.json`; contents of spec and options are checked where they are used."""
    path = folder / RUN
    number = info.get("format")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise RunError(f"'{path}' is damaged: 'format' should be a whole number from 1; got {number!r}")
    if number > FORMAT:
        wrote = f" (written by gnomon {info['gnomon']})" if isinstance(info.get("gnomon"), str) else ""
        raise RunError(f"'{path}' has format {number}{wrote}; this gnomon {__version__} reads up to format {FORMAT}: upgrade gnomon")
    for field, allowed in _FIELDS.items():
        if field not in info:
            if field in _REQUIRED:
                raise RunError(f"'{path}' is damaged: the field '{field}' is missing; take it from a copy, or fit again")
            continue
        if not isinstance(info[field], allowed) or isinstance(info[field], bool):
            wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in allowed)
            raise RunError(f"'{path}' is damaged: '{field}' should be {wanted}; got {type(info[field]).__name__}")
    recipe, weights = info["recipe"], info["weights"]
    if not isinstance(info.get("decisions", {}).get("settings", {}), dict):
        raise RunError(f"'{path}' is damaged: 'decisions.settings' should be an object; take it from a copy, or fit again")
    if not isinstance(recipe.get("options", {}), dict) or not isinstance(recipe.get("model"), (str, type(None))):
        raise RunError(f"'{path}' is damaged: 'recipe' should hold a 'model' (a name) and 'options' (an object)")
    if weights is not None:
        name, digest = weights.get("file"), weights.get("sha256")
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise RunError(f"'{path}' is damaged: 'weights.file' should be a safetensors file in the run folder; got {name!r}")
        if not isinstance(digest, str) or len(digest) != 64:
            raise RunError(f"'{path}' is damaged: 'weights.sha256' should be 64 hexadecimal digits; got {digest!r}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
