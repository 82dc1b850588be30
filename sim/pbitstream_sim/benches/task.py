"""What a bench is asked to do and what it found: two files between the command and cocotb."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Task"]

#: The variable that tells a bench where its task is.
VARIABLE = "PBITSTREAM_BENCH"


@dataclass(frozen=True)
class Task:
    """The task of a bench.

    Attributes
    ----------
    folder
        Where the task and what was found are kept while the bench runs.
    image
        Name of the image.
    seed, programs, updates
        What random programs and calls are drawn from, and how many at least; for benches that draw.
    """

    folder: str
    image: str
    seed: int
    programs: int | None = None
    updates: int | None = None

    def save(self) -> dict[str, str]:
        """Write the task and return the variable that leads a bench to it."""
        path = Path(self.folder) / "task.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return {VARIABLE: str(path)}

    @classmethod
    def load(cls) -> "Task":
        """Return the task of the bench that is running."""
        return cls(**json.loads(Path(os.environ[VARIABLE]).read_text(encoding="utf-8")))

    def remark(self, text: str) -> None:
        """Add a line to what the command prints."""
        self.add(remarks=[*self.found().get("remarks", []), text])

    def add(self, **found: Any) -> None:
        """Add to the document that the command prints."""
        self._found.write_text(json.dumps({**self.found(), **found}), encoding="utf-8")

    def found(self) -> dict[str, Any]:
        """Return what the bench has found so far."""
        if not self._found.is_file():
            return {}
        data: dict[str, Any] = json.loads(self._found.read_text(encoding="utf-8"))
        return data

    @property
    def _found(self) -> Path:
        return Path(self.folder) / "found.json"
