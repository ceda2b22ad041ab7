"""The package as a whole: versions agree, dependencies are declared, nothing is pickled, and what the README says is so.

What the rooms do, and that they import only downwards, is tested in their own places.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gnomon
from gnomon.models.base import ABILITIES, abilities
from gnomon.registry import models

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src" / "gnomon").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")

PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml", "ot": "pot"}


def pins() -> dict[str, str]:
    """Canonical name to version in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in found}


def requirements(texts: list[str]) -> dict[str, Requirement]:
    """Canonical name to requirement, without Gnomon's own extras."""
    parsed = map(Requirement, texts)
    return {canonicalize_name(r.name): r for r in parsed if r.name != "gnomon"}


def imported(tree: ast.AST) -> set[str]:
    """Top-level packages of all absolute imports in a syntax tree."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("importlib.import_module", "import_module", "__import__")
            and node.args
        ):
            if isinstance(node.args[0], ast.Constant):
                names.append(str(node.args[0].value))
    return {name.split(".")[0] for name in names}


def unpickling(tree: ast.AST) -> list[str]:
    """Places that could read or write a pickle: an import of a pickler, `torch.load` or `save`, `allow_pickle=True`."""
    found = sorted(imported(tree) & PICKLERS)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if ast.unparse(node.func) in ("torch.load", "torch.save"):
            found.append(ast.unparse(node.func))
        for keyword in node.keywords:
            allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
            if keyword.arg == "allow_pickle" and not allowed:
                found.append(ast.unparse(node))
    return found


def undocumented(tree: ast.Module) -> list[str]:
    """Public names without a docstring: the module, its functions, its classes and their methods."""

    def visit(node: ast.Module | ast.ClassDef, path: str) -> list[str]:
        missing = [] if ast.get_docstring(node) else [path or "the module"]
        for child in node.body:
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name.startswith("_"):
                continue
            if isinstance(child, ast.ClassDef):
                missing += visit(child, f"{path}.{child.name}")
            elif any(isinstance(way, ast.Name) and way.id == "overload" for way in child.decorator_list):
                continue  # what follows it has one
            elif isinstance(node, ast.Module) and not ast.get_docstring(child):
                missing.append(f"{path}.{child.name}")
        return missing

    return visit(tree, "")


def blocks(language: str) -> list[str]:
    """The README's code blocks of one language that are marked to be run."""
    return re.findall(rf"<!-- run -->\n```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_versions_agree() -> None:
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.MULTILINE)
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert citation and newest
    assert gnomon.__version__ == citation[1] == newest[1]


def test_every_requirement_is_pinned_within_its_range() -> None:
    pinned = pins()
    assert pinned["torch"] == "2.13.0"
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for name, requirement in requirements(texts).items():
            assert requirement.specifier, f"{name} has no range"
            assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is outside {requirement}"


def test_no_requirement_names_a_place() -> None:
    for name in ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run", ".ci/wheel"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"://|--index-url|--extra-index|--find-links", text), f"{name} names a package index"


def test_what_is_imported_is_declared() -> None:
    needed = set(requirements(PROJECT["dependencies"]))
    optional = ("hdf5", "molecules", "root", "transport", "optuna", "tensorboard", "mlflow", "wandb")
    extras = {name for extra in optional for name in requirements(PROJECT["optional-dependencies"][extra])}
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        outside = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in imported(tree) - set(sys.stdlib_module_names) - {"gnomon"}}
        assert outside <= needed | extras, f"{path} imports {outside - needed - extras}, which pyproject.toml does not declare"
        on_top = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for node in tree.body for name in imported_at(node)}
        assert not on_top & extras, f"{path} imports an extra before it is needed: {on_top & extras}"


def imported_at(node: ast.stmt) -> set[str]:
    """What a statement imports as soon as the module is imported."""
    return imported(node) if isinstance(node, ast.Import | ast.ImportFrom) else set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_nothing_is_pickled(path: Path) -> None:
    assert unpickling(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code", ["import pickle", "from joblib import dump", "torch.load(f)", "np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=flag)",
             "importlib.import_module('dill')"]
)  # fmt: skip
def test_the_search_for_pickles_finds_them(code: str) -> None:
    assert unpickling(ast.parse(code))


def test_the_search_for_pickles_lets_others_pass() -> None:
    assert unpickling(ast.parse("import json\nnp.load(f, allow_pickle=False)\nsafetensors.torch.load(b)\nmodel.save(f)")) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_everything_public_has_a_docstring(path: Path) -> None:
    assert undocumented(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_the_search_for_docstrings_finds_missing_ones() -> None:
    tree = ast.parse('"""Module."""\ndef f(): pass\nclass C:\n    """C."""\n    class D: pass\ndef _g(): pass')
    assert undocumented(tree) == [".f", ".C.D"]


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert "docs/demo.png" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_table_of_abilities_is_what_the_models_can_do() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line.startswith("|")]
    start = next(i for i, row in enumerate(rows) if row[0] == "model")
    names = [cell.strip("`") for cell in rows[start][1:]]
    assert names == list(ABILITIES)
    listed = [row for row in rows[start + 2 :] if row[0].strip("`") in models]
    said = {row[0].strip("`"): {name for name, cell in zip(names, row[1:], strict=True) if cell} for row in listed}
    own = [name for name in models if models[name].__module__.startswith("gnomon.")]  # other tests register toys of theirs
    assert said == {name: set(abilities(models[name])) for name in own}


@pytest.mark.slow
def test_readme_names_every_optimizer_schedule_and_change() -> None:
    from gnomon.blocks.augmentation import augmentations
    from gnomon.training.optimisers import OPTIMISERS
    from gnomon.training.schedules import SCHEDULES

    rows = {row.split("|")[1].strip(): row for row in README.splitlines() if row.startswith("| ")}
    for label, names in (("`optimizer`", OPTIMISERS), ("`schedule`", SCHEDULES)):
        assert set(re.findall(r"`([a-z-]+)`", rows[label])) - {label.strip("`")} == set(names)
    changes = {name for kind in augmentations.values() for name in kind}
    assert all(re.search(rf"\b{name}\b", rows["`augment`"]) for name in changes)


def test_readme_python_runs(tmp_path: Path) -> None:
    code = "\n".join(blocks("python"))
    assert "gnomon.fit" in code and "gnomon.check" in code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_readme_shell_runs(tmp_path: Path) -> None:
    commands = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    assert {"fit", "sample", "score", "check"} <= {words[1] for words in commands if words}
    for words in filter(None, commands):
        assert words[0] == "gnomon"
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"


def environment() -> dict[str, str]:
    """This process's environment, with the checkout importable from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}
