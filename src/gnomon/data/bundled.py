"""Real data sets that come with scikit-learn: no download. Each function gives what `read` accepts and the target's name.

What their columns mean is inferred like for any other data; toys with known densities live in `toys`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa


def digits() -> tuple[dict[str, np.ndarray], str]:
    """1797 handwritten digits, 8 × 8 pixels of 17 grey levels, labelled 0 … 9 (UCI, Alpaydin & Kaynak 1998).

    Example:
        >>> data, target = digits()
        >>> data["x"].shape, data["x"].dtype.name, target
        ((1797, 1, 8, 8), 'uint8', 'y')
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    return {"x": found.images.astype(np.uint8)[:, None], "y": found.target.astype(np.int64)}, "y"


def breast_cancer() -> tuple[pa.Table, str]:
    """569 tumours, 30 measurements of cell nuclei, target ``diagnosis``: malignant or benign (UCI, Wolberg et al. 1995).

    Example:
        >>> table, target = breast_cancer()
        >>> table.shape, target, table["mean_radius"][0].as_py()
        ((569, 31), 'diagnosis', 17.99)
    """
    from sklearn.datasets import load_breast_cancer

    return _classes(load_breast_cancer(), "diagnosis")


def wine() -> tuple[pa.Table, str]:
    """178 wines, 13 chemical measurements, target ``cultivar``: class_0, class_1 or class_2 (UCI, Forina et al. 1991).

    Example:
        >>> table, target = wine()
        >>> table.shape, target
        ((178, 14), 'cultivar')
    """
    from sklearn.datasets import load_wine

    return _classes(load_wine(), "cultivar")


def iris() -> tuple[pa.Table, str]:
    """150 irises, 4 measurements in cm, target ``species`` (Fisher 1936).

    Example:
        >>> table, target = iris()
        >>> table.column_names
        ['sepal_length', 'sepal_width', 'petal_length', 'petal_width', 'species']
    """
    from sklearn.datasets import load_iris

    return _classes(load_iris(), "species")


def diabetes() -> tuple[pa.Table, str]:
    """442 patients, 10 measurements in their own units, target ``progression`` after one year (Efron et al. 2004).

    Example:
        >>> table, target = diabetes()
        >>> table.shape, target, str(table.schema.field(target).type)
        ((442, 11), 'progression', 'double')
    """
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    return _table(found, "progression", found.target.astype(np.float64)), "progression"


def _classes(found: Any, target: str) -> tuple[pa.Table, str]:
    return _table(found, target, np.asarray([str(name) for name in found.target_names])[found.target]), target


def _table(found: Any, target: str, values: np.ndarray) -> pa.Table:
    names = [re.sub(r"\s*\(cm\)", "", name).replace(" ", "_").replace("/", "_per_") for name in found.feature_names]
    columns = {name: found.data[:, i].astype(np.float64) for i, name in enumerate(names)}
    return pa.table({**columns, target: values})
