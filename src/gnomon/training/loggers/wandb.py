"""Weights & Biases: one run of theirs, kept on this machine unless the user's environment says that it may go out.

Which numbers it is given is decided by the loop.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gnomon.errors import OptionError
from gnomon.training.loggers.environment import unless_said


class WeightsAndBiases:
    """Numbers and recipe only: no code, no git state, no console, no machine statistics, no list of packages.

    Args:
        folder: of the run; theirs goes to ``folder/wandb``. Without ``WANDB_MODE`` in the environment it is offline:
            ``wandb sync`` sends it later.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def start(self, info: dict[str, Any]) -> None:
        """Begin a run in the project ``WANDB_PROJECT``, or "gnomon".

        Raises:
            OptionError: the package is missing, or there is no folder to write to.
        """
        if self.folder is None and "WANDB_DIR" not in os.environ:
            raise OptionError("log='wandb' writes into the run's folder: pass out=, or set WANDB_DIR")
        with unless_said(WANDB_ERROR_REPORTING="false"):  # read when it is imported: its faults are not reported to its makers
            self.run = self._begin(info)

    def log(self, record: dict[str, float], step: int) -> None:
        """All numbers of one turn at once."""
        self.run.log(record, step=step)

    def finish(self) -> None:
        """End the run."""
        self.run.finish()

    def _begin(self, info: dict[str, Any]) -> Any:
        try:
            import wandb
        except ImportError as error:
            raise OptionError("log='wandb' needs the package wandb: pip install 'gnomon[wandb]'") from error
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", "gnomon"),
            dir=None if self.folder is None else str(self.folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            config=info,
            reinit="create_new",
            save_code=False,
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, disable_code=True, x_disable_meta=True, x_disable_stats=True,
                x_disable_machine_info=True, x_save_requirements=False,
            ),
        )  # fmt: skip
