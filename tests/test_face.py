"""The face: what `import gnomon` costs and offers, and that neither it nor the command line changes anything global."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gnomon
from gnomon import registry
from gnomon.errors import OptionError

SOURCE = Path(__file__).parents[1] / "src"
HEAVY = ("torch", "numpy", "sklearn", "matplotlib", "pyarrow", "scipy", "pandas", "typer", "rich")


def python(code: str, *arguments: str) -> str:
    """What a new Python prints when it runs `code`."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = python("import sys, gnomon; print(*sys.modules)").split()
    assert "gnomon" in loaded
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["sample", "--help"], ["check", "--help"], ["--version"], []])
def test_help_comes_without_torch(arguments: list[str]) -> None:
    code = "import sys\nfrom gnomon.cli import main\ncode = main(sys.argv[1:])\nprint('@@', code, *sys.modules)"
    text, _, rest = python(code, *arguments).partition("@@")
    code, *loaded = rest.split()
    assert code == "0" and not {"torch", "numpy", "pyarrow", "matplotlib", "rich"} & set(loaded)
    assert gnomon.__version__ in text if arguments == ["--version"] else "Usage: gnomon" in text


def test_every_name_of_the_face_resolves() -> None:
    for name in gnomon.__all__:
        assert getattr(gnomon, name) is not None
        assert name in dir(gnomon)
    assert gnomon.fit is gnomon.training.fit and gnomon.load is gnomon.learned.load
    for room in ("blocks", "checks", "data", "models", "networks", "training"):
        assert getattr(gnomon, room).__name__ == f"gnomon.{room}"


def test_a_name_it_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'fitt'.*fit"):
        _ = gnomon.fitt


def test_using_the_rooms_imports_no_plotting_and_changes_no_global_setting() -> None:
    code = (
        "import sys, os, warnings, torch, numpy as np\n"
        "before = (torch.get_default_dtype(), torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32, torch.is_grad_enabled(),\n"
        "          torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), os.environ.copy(), list(warnings.filters),\n"
        "          torch.are_deterministic_algorithms_enabled())\n"
        "import gnomon\n"
        "learned = gnomon.fit('pca', {'a': np.arange(50.0), 'b': np.arange(50.0) ** 2}, options={'components': 1}, progress=False)\n"
        "learned.sample(5), learned.log_prob({'a': [1.0], 'b': [2.0]})\n"
        "after = (torch.get_default_dtype(), torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32, torch.is_grad_enabled(),\n"
        "         torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), os.environ.copy(), list(warnings.filters),\n"
        "         torch.are_deterministic_algorithms_enabled())\n"
        "heavy = [m for m in ('matplotlib', 'sklearn') if m in sys.modules]\n"
        "print(*[i for i, (x, y) in enumerate(zip(before, after)) if x != y], '@', *heavy)"
    )
    assert python(code).split() == ["@"]


# ---- names ----------------------------------------------------------------------------------------------------------


def test_names_are_listed_by_sort() -> None:
    assert {"flow", "vae", "gan"} <= set(gnomon.available("models"))
    assert "digits" in gnomon.available("datasets")
    with pytest.raises(OptionError, match="did you mean 'models'"):
        gnomon.available("model")


def test_a_class_tells_what_it_is_and_a_function_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    from gnomon.models import Model

    class Mine(Model):
        pass

    class Layer(nn.Module):
        pass

    for table in registry.SORTS.values():
        monkeypatch.setattr(table, "_registered", dict(table._registered))
    assert gnomon.register("face-mine", Mine) is Mine and registry.models["face-mine"] is Mine
    gnomon.register("face-layer", Layer)
    assert registry.networks["face-layer"] is Layer and "face-layer" not in registry.models
    with pytest.raises(OptionError, match="sort="):
        gnomon.register("face-data", lambda: None)
    gnomon.register("face-data", lambda: None, sort="datasets")
    assert "face-data" in gnomon.available("datasets")
    with pytest.raises(OptionError, match="already registered"):
        gnomon.register("flow", Mine)
