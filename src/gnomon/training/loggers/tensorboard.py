"""TensorBoard: event files in the run's folder, looked at with `tensorboard --logdir RUN`.

Which numbers it is given is decided by the loop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gnomon.errors import OptionError

FOLDER = "tensorboard"


class TensorBoard:
    """Writes scalars by torch's own `SummaryWriter`.

    Args:
        folder: of the run; its events go to ``folder/tensorboard``.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def start(self, info: dict[str, Any]) -> None:
        """Open an event file, with what is known of the run as a text.

        Raises:
            OptionError: there is no folder, or the package is not installed.
        """
        if self.folder is None:
            raise OptionError("log='tensorboard' writes into the run's folder: pass out=")
        self.writer = _writer()(str(self.folder / FOLDER))
        rows = "\n".join(f"| {name} | {value} |" for name, value in info.items())
        self.writer.add_text("recipe", f"| name | value |\n|---|---|\n{rows}", 0)

    def log(self, record: dict[str, float], step: int) -> None:
        """One scalar for each number."""
        for name, value in record.items():
            if name != "step":
                self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def finish(self) -> None:
        """Close the event file."""
        self.writer.close()


def _writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OptionError("log='tensorboard' needs the package tensorboard: pip install 'gnomon[tensorboard]'") from error
    return SummaryWriter
