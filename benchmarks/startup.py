"""Time to start: `import gnomon` against `import torch`, and `gnomon --help`, which must not import torch at all.

Each measurement is a new Python process; the files are in the page cache after the first, unmeasured round.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.timing import Seconds, arguments, compare, emit, header, timed

METHOD = (
    "wall-clock seconds of whole Python processes, after one unmeasured round; paired rounds, medians",
    "'import gnomon' also touches gnomon.fit, load and check, so that nothing lazy is left out",
)
IMPORT_TORCH = "import torch"
IMPORT_NAME = "import gnomon"
IMPORT_GNOMON = "import torch, gnomon; gnomon.fit; gnomon.load; gnomon.check"
NOTHING = "pass"
HEAVY = ("matplotlib", "pyarrow", "scipy", "sklearn", "torch")
HELP = f"""
import sys
from gnomon.cli import main
code = main(["--help"])
print("LOADED", *[name for name in {HEAVY} if name in sys.modules])
sys.exit(code)
"""


def process(code: str) -> Seconds:
    """A new interpreter that runs `code`."""
    return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True))


def heavy_in_help() -> list[str]:
    """The heavy packages that `gnomon --help` imports: none, if all is well."""
    done = subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True, text=True)
    return next(line for line in done.stdout.splitlines() if line.startswith("LOADED")).split()[1:]


def help_command() -> Seconds:
    """`gnomon --help` as a process of its own."""
    return timed(lambda: subprocess.run([sys.executable, "-m", "gnomon", "--help"], check=True, capture_output=True))


def main() -> None:
    """Measure, print, and fail if `--help` imports torch."""
    options = arguments(__doc__ or "")
    rounds, limit = (5, 25.0) if options.quick else (15, 120.0)
    print(header("Start-up", ("torch", "typer"), *METHOD))
    for code in (IMPORT_GNOMON, NOTHING):
        process(code)
    heavy = heavy_in_help()
    imports = compare(lambda: process(IMPORT_GNOMON), lambda: process(IMPORT_TORCH), rounds=rounds, limit=limit)
    helps = compare(help_command, lambda: process(NOTHING), rounds=rounds, limit=limit / 5)
    name = compare(lambda: process(IMPORT_NAME), lambda: process(NOTHING), rounds=rounds, limit=limit / 5)
    torch, ours = imports.median("peer"), imports.median("ours")
    extra = Seconds(ours.wall - torch.wall, ours.cpu - torch.cpu)
    rows = (
        ("import torch", torch, ""),
        ("import gnomon, all of it", ours, ""),
        ("  more than import torch", extra, "0.15"),
        ("import gnomon, the name alone", name.median("ours"), ""),
        ("gnomon --help", helps.median("ours"), "0.35"),
        ("an empty Python", helps.median("peer"), ""),
    )
    print(f"{'':<32}{'wall s':>8}{'CPU s':>8}{'bar':>8}")
    for title, seconds, bar in rows:
        print(f"{title:<32}{seconds.wall:8.3f}{seconds.cpu:8.3f}{bar:>8}")
    print(f"heavy packages in --help: {', '.join(heavy) or 'none'}")
    emit(
        {
            "import/torch": imports.ratio,
            "import_torch_seconds": torch.wall,
            "import_gnomon_seconds": ours.wall,
            "import_extra_seconds": extra.wall,
            "import_name_seconds": name.our_seconds,
            "help_seconds": helps.our_seconds,
        },
        as_json=options.json,
    )
    if "torch" in heavy:
        sys.exit("gnomon --help imported torch")


if __name__ == "__main__":
    main()
