"""What ``pbitstream bench -d URL`` measures of a board or of its simulation."""

import time
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output, listing, number
from pbitstream.cli.parser import UsageError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["measure_board", "show_board"]

#: Steps of the two relaxations whose difference is free of seeding, prologue and readout.
SHORT, LONG = 20, 220


def measure_board(url: str, rounds: int, output: Output) -> dict[str, Any]:
    """Return cycles per step, measured and predicted, and how fast the clock runs here."""
    import numpy as np

    from pbitstream.cli.measure import langevin_program, median
    from pbitstream.devices.board import Board
    from pbitstream.devices.board.placement import place
    from pbitstream.devices.registry import open_device
    from pbitstream.spec.cycles import multiplying_per_step

    with open_device(url) as device, output.progress() as report:
        if not isinstance(device, Board):
            raise UsageError(f"--device must be a board or a simulation of one, not {url!r}")
        program = langevin_program()
        device.load(program)
        placement = place(program, device.image)
        h = np.zeros((1, program.topology.units))
        cycles, busy, rates = {}, {}, []
        for done in range(rounds):
            report("relaxations", done, rounds)
            for steps in (SHORT, LONG):
                begin = time.perf_counter()
                device.relax(h, steps=steps, seed=1)
                seconds = time.perf_counter() - begin
                counters = device.counters()
                cycles[steps], busy[steps] = counters["cycles"], counters["multiplying"]
            rates.append(counters["cycles"] / seconds)
        info = device.info()
    per_step = (cycles[LONG] - cycles[SHORT]) / (LONG - SHORT)
    return {
        "device": info["device"],
        "kind": info["kind"],
        "lanes": device.image.lanes,
        "cycles_per_step": per_step,
        "predicted_cycles_per_step": placement.cycles_per_step,
        "full_use_cycles_per_step": multiplying_per_step(placement.instructions),
        "multiplying_share": (busy[LONG] - busy[SHORT]) / (cycles[LONG] - cycles[SHORT]),
        "cycles_per_second": median(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "rounds": rounds,
    }


def show_board(console: "Console", data: dict[str, Any]) -> None:
    """Print the document of `measure_board`."""
    console.print(f"{data['device']}, {data['kind']}; {data['lanes']} lanes")
    console.print("Langevin: 6 modules of 128 units, 8 banks of rank 16\n")
    made = listing("Clock cycles of a step")
    made.add_row("measured", f"{data['cycles_per_step']:,.1f}")
    made.add_row("predicted", number(data["predicted_cycles_per_step"]))
    made.add_row("with every multiplier always busy", number(data["full_use_cycles_per_step"]))
    made.add_row("share of cycles that multiply", f"{100 * data['multiplying_share']:.1f} %")
    console.print(made, "")
    made = listing("Speed here")
    low, high = data["lowest"] / 1e6, data["highest"] / 1e6
    made.add_row("million clock cycles per second",
                 f"{data['cycles_per_second'] / 1e6:.2f} ({low:.2f} to {high:.2f})")
    made.add_row("steps per second",
                 f"{data['cycles_per_second'] / data['cycles_per_step']:,.0f}")
    console.print(made)
