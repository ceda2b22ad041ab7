"""A million rows of ten columns within one gigabyte above the imports, for two files and for a model; columns and pairs in 0.7 of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROGRAM = """
import resource, sys
sys.path[:0] = {path!r}
import gnomon, gnomon.registry, numpy as np
import sklearn.ensemble, sklearn.decomposition, scipy.special, scipy.stats, matplotlib.figure, jinja2
from gnomon.checks import Case, Effort, Sides, check, judge
judge(Case(Sides.of(np.random.rand(50, 2), np.random.rand(50, 2)), effort=Effort(draws=9, more_draws=0, retrainings=2))).html()
kept = {kept!r}
if kept:
    gnomon.registry.statistics._entries = {{name: gnomon.registry.statistics._entries[name] for name in kept}}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = check({first!r}, {second!r})
report.save({out!r})
print(report["w1"][0].n, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""

COLUMNWISE = ("w1", "ks", "kuiper", "tv", "cvm", "tails", "separation", "distinct", "correlation", "rank_correlation")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["files", "model"])
@pytest.mark.parametrize(("kept", "most"), [((), 2**30), (COLUMNWISE, 0.7 * 2**30)], ids=["all", "columns"])
def test_a_million_rows_fit_in_a_gigabyte(which: str, kept: tuple[str, ...], most: float, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("real", "generated"):
        columns = {f"c{i}": rng.normal(size=1_000_000) for i in range(9)}
        texts = pa.array(rng.integers(0, 4, 1_000_000)).cast(pa.string())
        pq.write_table(pa.table({**columns, "sort": texts}), tmp_path / f"{name}.parquet")
    first = tmp_path / "real.parquet"
    if which == "model":
        import gnomon

        first = tmp_path / "run"
        table = pq.read_table(tmp_path / "real.parquet").slice(0, 5000)
        gnomon.fit("pca", table, progress=False).save(first)
    files = {"first": str(first), "second": str(tmp_path / "generated.parquet"), "out": str(tmp_path / "out")}
    program = PROGRAM.format(path=sys.path, kept=kept, **files)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows, above = (int(part) for part in done.stdout.split()[-2:])
    print(f"{which}: {rows:,} rows, {above / 2**20:.0f} MiB above the imports")
    assert rows == 1_000_000 and above < most
