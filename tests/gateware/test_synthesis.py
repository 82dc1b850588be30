"""The smallest image through synthesis: it fits, with one multiplier per lane and no latches."""

import json
from pathlib import Path

import pytest

from pbitstream_gateware.boards.zynq import ZynqDesign
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.synthesis import CHIPS, place, synthesise

#: Multipliers outside the lanes: a Langevin and a p-bit unit and the window's squares per pipe,
#: the gain stage, the seeder. At most so many slices of a DSP.
BESIDE_LANES, PER_PIPE = 6, 12


@pytest.mark.parametrize("name", [
    "tiny", pytest.param("pynq_z2", marks=pytest.mark.long)])
def test_xc7z020(name: str, tmp_path: Path) -> None:
    image, chip = PRESETS[name], CHIPS["xc7z020"]
    used = synthesise(image, chip, tmp_path, ZynqDesign)
    assert 0 <= used["multipliers"] - image.lanes <= BESIDE_LANES + PER_PIPE * image.pipes
    assert used["luts"] <= 0.85 * chip.has["luts"], "15 % of the LUTs are to be spare"
    assert all(used[resource] <= chip.has[resource] for resource in used)
    cells = json.loads((tmp_path / "cells.json").read_text(encoding="utf-8"))
    counts = cells["design"]["num_cells_by_type"]
    assert (counts["PS7"], counts["BUFG"]) == (1, 1)
    assert not [cell for cell in counts if "LATCH" in cell or cell.startswith("LD")]


@pytest.mark.long
def test_ecp5_85f(tmp_path: Path) -> None:
    chip = CHIPS["ecp5-85f"]
    used = synthesise(PRESETS["ulx3s"], chip, tmp_path)
    clock = place(tmp_path)
    assert all(used[resource] <= chip.has[resource] for resource in used)
    assert clock.megahertz >= 80, "\n".join(clock.path)
