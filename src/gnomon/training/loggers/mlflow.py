"""MLflow: parameters and metrics of one MLflow run, in a database inside the run's folder unless the user's environment names another.

Which numbers it is given is decided by the loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gnomon.errors import OptionError
from gnomon.training.loggers.environment import unless_said

DATABASE = "mlflow.db"
_LONGEST = 500  # characters of a parameter's value that every MLflow server takes


class MLflow:
    """Talks to an `MlflowClient` of its own, so that the user's active run and tracking place are left alone.

    Args:
        folder: of the run; without ``MLFLOW_TRACKING_URI`` in the environment the tracking database is ``folder/mlflow.db``.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def start(self, info: dict[str, Any]) -> None:
        """Begin an MLflow run in the experiment ``MLFLOW_EXPERIMENT_NAME``, or "gnomon".

        Raises:
            OptionError: the package is missing, or nobody says where to write.
        """
        place = os.environ.get("MLFLOW_TRACKING_URI")
        if place is None:
            if self.folder is None:
                raise OptionError("log='mlflow' writes into the run's folder: pass out=, or set MLFLOW_TRACKING_URI")
            self.folder.mkdir(parents=True, exist_ok=True)
            place = f"sqlite:///{(self.folder / DATABASE).absolute()}"
        try:
            with unless_said(MLFLOW_DISABLE_TELEMETRY="true"):  # read once, at the first import: nothing is reported to its makers
                from mlflow import MlflowClient
        except ImportError as error:
            raise OptionError("log='mlflow' needs the package mlflow: pip install 'gnomon[mlflow]'") from error
        self.client = MlflowClient(tracking_uri=place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "gnomon")
        found = self.client.get_experiment_by_name(name)
        experiment = found.experiment_id if found is not None else self.client.create_experiment(name)
        self.run = self.client.create_run(experiment).info.run_id
        for key, value in info.items():
            self.client.log_param(self.run, key, str(value)[:_LONGEST])

    def log(self, record: dict[str, float], step: int) -> None:
        """One metric for each number."""
        for name, value in record.items():
            if name != "step":
                self.client.log_metric(self.run, name, value, step=step)

    def finish(self) -> None:
        """End the MLflow run."""
        self.client.set_terminated(self.run)
