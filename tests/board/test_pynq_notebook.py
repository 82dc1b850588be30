"""The notebook for PYNQ boards, cell by cell, on the emulator."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbitstream.devices.zynq import notebooks
from zynq_stand_in import Zynq

NOTEBOOK = Path(notebooks.__file__).with_name("denoise.ipynb")


@pytest.fixture
def cells() -> list[str]:
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["metadata"]["kernelspec"]["name"]) == (4, "python3")
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    # Stored without what it printed, so that it never shows what another version did.
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def test_every_cell_runs_on_the_emulator(cells: list[str], capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", None)  # type: ignore[arg-type]
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names: dict[str, Any] = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"{NOTEBOOK.name}, code cell {number + 1}", "exec"), names)
    figure = names["figure"]
    pyplot.close(figure)
    out = capsys.readouterr().out
    assert "No board: this computer is no Zynq board" in out
    assert "\nemulator: " in out
    assert names["identical"] is True
    assert len(figure.axes) == 4 * 8
    mse = {name: float(np.mean((names[name] - names["states"].clean) ** 2))
           for name in ("denoised", "digital", "constant")}
    assert mse["digital"] < mse["denoised"] < mse["constant"]
    assert not any(names["stream"].clips.values())


def test_the_board_is_asked_first(cells: list[str], tmp_path: Path,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynq", None)  # type: ignore[arg-type]
    zynq = Zynq.make(tmp_path / "zynq", monkeypatch)
    zynq.show()
    (zynq.sysfs / "state").write_text("operating\n")
    names: dict[str, Any] = {}
    exec(cells[0], names)
    assert names["info"]["device"] == "pynq"
    names["device"].close()
