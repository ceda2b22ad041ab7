"""A million rows of ten columns are sampled and scored within one gigabyte above the imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, resource, sys
import numpy as np, pyarrow as pa, pyarrow.parquet, torch
import gnomon, gnomon.data.encoding.infer
from tests.learned.toys import Network, learn
from gnomon.cli import main

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

generator = np.random.default_rng(0)
names = [f"c{i}" for i in range(10)]
learned = learn(Network, pa.table({n: generator.normal(size=1000) for n in names}), options={"hidden": 32})
learned.calibrate(learned.read(learned.sample(1000)))
learned.save(sys.argv[1] + "/run")
before, told = peak(), {}
assert main(["sample", sys.argv[1] + "/run", "-n", sys.argv[2], "-o", sys.argv[1] + "/made.parquet"]) == 0
told["sample"] = peak() - before
assert main(["score", sys.argv[1] + "/run", sys.argv[1] + "/made.parquet", "--anomaly", "-o", sys.argv[1] + "/scores.parquet"]) == 0
told["score"] = peak() - before
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_million_rows_need_less_than_a_gigabyte(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path), "1000000"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert max(told.values()) < 1e9, told
