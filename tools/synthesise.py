#!/usr/bin/env python3
"""What an image of the gateware costs on its chip, and for the ECP5 how fast it is and why.

    tools/run python tools/synthesise.py pynq_z2          cells on an xc7z020, some minutes
    tools/run python tools/synthesise.py ulx3s --place    cells and clock of an ECP5-85F, longer

Nothing here makes a bitstream.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from pbitstream.errors import PbitstreamError
from pbitstream_gateware.presets import PRESETS

try:
    from pbitstream_gateware.boards.zynq import ZynqDesign
    from pbitstream_gateware.synthesis import CHIPS, Linked, place, synthesise
except ModuleNotFoundError as error:
    sys.exit(f"synthesise.py: {error.name} is missing; pip install 'pbitstream[sim,synth]'")

#: The chip that a preset is meant for; `tiny` is for simulation, and small on any.
CHIP_OF = {"tiny": "xc7z020", "pynq_z2": "xc7z020", "ulx3s": "ecp5-85f"}
#: What stands around an image: what a Zynq board carries; for the ECP5 registers, without a link.
TOP_OF = {"xc7z020": ZynqDesign, "ecp5-85f": Linked}


def main() -> int:
    """Synthesise, place if asked to, and print; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("preset", choices=PRESETS)
    parser.add_argument("--chip", choices=CHIPS, help="another chip than the preset's own")
    parser.add_argument("--place", action="store_true", help="place and route too; ECP5 only")
    parser.add_argument("--seed", type=int, default=1, help="of place and route (1)")
    parser.add_argument("--folder", type=Path, help="keep all files of the tools here")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    chip = CHIPS[arguments.chip or CHIP_OF[arguments.preset]]
    if arguments.place and chip.name != "ecp5-85f":
        parser.error("--place needs the ECP5: there is no open place and route for xc7z020 on PyPI")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"synthesising {arguments.preset} for {chip.name}", file=sys.stderr)
        used = synthesise(PRESETS[arguments.preset], chip, folder, TOP_OF[chip.name])
        clock = None
        if arguments.place:
            print("placing and routing", file=sys.stderr)
            clock = place(folder, seed=arguments.seed)
    if arguments.json:
        print(json.dumps({
            "image": arguments.preset, "chip": chip.name, "used": used, "has": chip.has,
            "megahertz": clock and clock.megahertz, "critical_path": clock and clock.path,
        }))
        return 0
    for resource, count in used.items():
        print(f"{resource:<12} {count:>10,.1f} of {chip.has[resource]:>8,}  "
              f"{count / chip.has[resource]:6.1%}")
    if clock:
        print(f"clock        {clock.megahertz:>10.1f} MHz, limited by")
        print("\n".join(f"  {stop}" for stop in clock.path))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PbitstreamError as error:
        sys.exit(f"synthesise.py: {error}")
