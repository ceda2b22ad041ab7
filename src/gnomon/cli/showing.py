"""`gnomon list|show`: which names there are, what a model or network takes, and what a run holds.

Everything printed is read from the registries, the constructors' signatures, or the run; nothing is written twice.
"""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from gnomon.cli.arguments import Debug, Json
from gnomon.cli.lines import as_json, number, table
from gnomon.errors import OptionError


def list_names(
    sort: Annotated[str, typer.Argument(metavar="models|networks|datasets|statistics|loggers", help="What to list.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the names that can be written.

    \b
    Examples:
      gnomon list models
      gnomon list datasets
    """
    from gnomon import registry

    names = registry.available(sort)
    about = {name: _first_sentence(registry.SORTS[sort][name]) for name in names}
    if json:
        print(as_json(about))
        return
    print(table([sort, "about"], [[name, text] for name, text in about.items()]))


def show(
    what: Annotated[str, typer.Argument(metavar="MODEL|NETWORK|RUN", help="A model's or network's name, or a run folder.")],
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the options and abilities of a model or network, or what a run learned and from what.

    \b
    Examples:
      gnomon show flow
      gnomon show runs/events
    """
    from gnomon import registry
    from gnomon.learned import runs
    from gnomon.options import unknown

    if runs.is_run(what):
        facts = _run_facts(what)
        print(as_json(facts) if json else _told_run(facts))
        return
    for sort in ("models", "networks"):
        if what in registry.SORTS[sort]:
            facts = _owner_facts(what, registry.SORTS[sort][what], sort)
            print(as_json(facts) if json else _told_owner(facts))
            return
    known = [*registry.available("models"), *registry.available("networks")]
    raise OptionError(unknown("model or network", what, known) + " (nor is it a run folder)")


def _owner_facts(name: str, owner: Any, sort: str) -> dict[str, Any]:
    from gnomon.models import abilities
    from gnomon.options import describe, signature

    wiring = ("inputs", "outputs", "given", "size") if sort == "networks" else ()
    options = [
        {
            "option": option,
            "takes": describe(p.annotation),
            "default": None if p.default is inspect.Parameter.empty else p.default,
        }
        for option, p in signature(owner).items()
        if option not in wiring
    ]
    facts: dict[str, Any] = {"name": name, "about": inspect.getdoc(owner) or "", "options": options}
    if sort == "models":
        facts |= {"abilities": list(abilities(owner)), "target": owner.target, "fit": dict(owner.defaults)}
    return facts


def _told_owner(facts: dict[str, Any]) -> str:
    about = facts["about"].partition("\n\nExample:")[0].rstrip()
    lines = [f"{facts['name']}: {about}", ""]
    if facts["options"]:
        rows = [[o["option"], _default(o["default"]), o["takes"]] for o in facts["options"]]
        lines.append(table(["option", "default", "takes"], rows))
    if "abilities" in facts:
        lines += ["", f"abilities: {', '.join(facts['abilities'])}"]
        if facts["target"]:
            lines.append(f"target:    {facts['target']} (--target)")
        if facts["fit"]:
            lines.append("fit:       " + ", ".join(f"{key}={_default(value)}" for key, value in facts["fit"].items()))
    return "\n".join(lines)


def _default(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(str(entry) for entry in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _run_facts(run: str) -> dict[str, Any]:
    from gnomon.data import Spec, describe
    from gnomon.errors import DataError, RunError
    from gnomon.learned import runs

    info = runs.read_run(run)
    history = runs.read_history(run)
    try:
        columns = describe(Spec.from_json(info["spec"]))
    except DataError as error:
        raise RunError(f"run '{run}': {error}") from error
    return {
        "run": run, "model": info["recipe"].get("model") or info["recipe"].get("class"), "options": info["recipe"].get("options", {}),
        "fit": info["recipe"].get("fit", {}), "gnomon": info.get("gnomon"), "columns": columns, "data": info.get("data", {}),
        "split": info.get("split"), "seed": info.get("seed"), "timing": info.get("timing", {}), "environment": info.get("environment", {}),
        "decisions": info.get("decisions", {}), "finished": info["weights"] is not None, "epochs": len(history),
        "last": history[-1] if history else {},
    }  # fmt: skip


def _told_run(facts: dict[str, Any]) -> str:
    data, settings = facts["data"], facts["decisions"].get("settings", {})
    lines = [
        f"run:      {facts['run']}" + ("" if facts["finished"] else " (unfinished: gnomon fit --resume goes on)"),
        f"model:    {facts['model']}"
        + "".join(f" {key}={_default(value)}" for key, value in facts["options"].items() if value is not None),
        f"data:     {data.get('path') or 'in memory'}, {number(data['rows']) if 'rows' in data else 'unknown'} rows",
    ]
    if facts["split"]:
        lines.append("split:    " + ", ".join(f"{key} {_default(value)}" for key, value in facts["split"].items() if value is not None))
    if settings:
        lines.append("training: " + ", ".join(f"{key} {_default(value)}" for key, value in settings.items() if value is not None))
    if facts["timing"].get("seconds") is not None:
        lines.append(f"time:     {number(float(facts['timing']['seconds']))} s, {facts['epochs']} epochs, seed {facts['seed']}")
    lines.append(f"made by:  gnomon {facts['gnomon']}, torch {facts['environment'].get('torch', '?')}")
    measured = {key: value for key, value in facts["last"].items() if isinstance(value, float)}
    if measured:
        lines.append("last:     " + ", ".join(f"{key} {number(value)}" for key, value in measured.items()))
    return "\n".join([*lines, "", facts["columns"]])


def _first_sentence(thing: Any) -> str:
    """The first line of what it says about itself."""
    return (inspect.getdoc(thing) or "").partition("\n")[0].rstrip(".").replace("`", "")
