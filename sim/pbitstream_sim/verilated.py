"""Amaranth tops as shared libraries: Verilog, Verilator, C++, then ctypes; builds are cached.

Some 20 to 40 times as fast as cocotb. A top has the ports ``clk``, ``rst``, ``bus`` (a
`pbitstream_gateware.ports.Bus`, seen from the design) and ``busy``::

    with Verilated(Top(PRESETS["tiny"])) as rtl:
        hex(rtl.read(0, 1)[0])         # word addresses
        rtl.write(0x28 // 4, [1000])
        rtl.run(100_000, until_idle=True)
"""

import ctypes
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec.registers import RESPONSE_CYCLES
from pbitstream_sim import toolchain
from pbitstream_sim.cache import cached
from pbitstream_sim.simulation import FLAG, LONG, SIM, WORD, WORDS, Simulation

__all__ = ["Verilated", "library", "to_verilog"]

SHIM = Path(__file__).with_name("shim.cpp")
SHIM_FUNCTIONS = {
    "transfer": (WORD, SIM, FLAG, WORD, WORD, WORDS, WORD),
    "run": (LONG, SIM, LONG, FLAG),
    "trace": (FLAG, SIM, ctypes.c_char_p),
}
LIBRARY = "top.so"
#: Of Verilator: fast code, and no time spent on unknown values, which Amaranth designs do not have.
FLAGS = ("-cc", "--prefix", "Vtop", "--top-module", "top", "-O3", "--x-assign", "fast",
         "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-WIDTH")
COMPILER = ("g++", "-std=c++17", "-fPIC", "-DVL_TIME_CONTEXT", "-fno-strict-aliasing")
#: Code that runs once is compiled fast, code that runs every cycle is made fast.
ONCE, OFTEN = "-O0", "-O2"
#: Cycles and words per call of the library, so that Ctrl-C is heard within a fraction of a second.
SLICE_CYCLES = 1 << 14
SLICE_WORDS = 1 << 11


def to_verilog(top: Any) -> str:
    """Return a top as Verilog, without source positions: equal designs give equal text."""
    toolchain.require_packages("amaranth")
    from amaranth.back import verilog

    # The Yosys that comes with Amaranth's wheel, unless someone has chosen another.
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    text: str = verilog.convert(top, name="top", strip_internal_attrs=True, emit_src=False)
    return text


def library(verilog: str, *, trace: bool = False, shim: Path = SHIM) -> Path:
    """Return the shared library of a top given as Verilog; building it takes a minute or so.

    `shim` is the C++ that drives the top's ports.

    Raises
    ------
    MissingExtraError
        If Verilator, g++ or perl is missing; the message says what installs it.
    """
    toolchain.require_packages("verilator")
    toolchain.require_programs("g++", "perl")
    source = "\n".join([toolchain.versions(), " ".join([*FLAGS, *COMPILER, ONCE, OFTEN]),
                        os.uname().machine, str(trace), shim.read_text(encoding="utf-8"), verilog])
    key = hashlib.sha256(source.encode()).hexdigest()[:20]

    def make(folder: Path) -> None:
        toolchain.note("compiling the RTL, once; this takes a minute or so")
        _build(folder, verilog, trace, shim)

    return cached("library", key, make) / LIBRARY


class Verilated(Simulation):
    """A running simulation of a top.

    Parameters
    ----------
    top
        An Amaranth component, or its Verilog.
    trace
        A file for all signals, VCD; its build is another one, and several times slower.

    Attributes
    ----------
    digest
        sha256 of the Verilog.
    """

    def __init__(self, top: Any, *, trace: Path | str | None = None) -> None:
        verilog = top if isinstance(top, str) else to_verilog(top)
        self.digest = hashlib.sha256(verilog.encode()).hexdigest()
        super().__init__(library(verilog, trace=trace is not None), SHIM_FUNCTIONS)
        if trace is not None and not self._library.sim_trace(self._sim, os.fsencode(trace)):
            self.close()
            raise DeviceError(f"{trace}: cannot be written")
        self.reset()

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        """Return words from a word address on."""
        words = np.zeros(count, np.uint32)
        self._transfer("read", address, words)
        return words

    def write(self, address: int, words: Sequence[int] | NDArray[np.uint32]) -> None:
        """Write words from a word address on."""
        self._transfer("write", address, np.array(words, np.uint32))

    def run(self, cycles: int, *, until_idle: bool = False) -> int:
        """Let clock cycles pass and return how many; fewer if `until_idle` and `busy` falls."""
        return self._run(cycles, until_idle, SLICE_CYCLES)

    def _transfer(self, what: str, address: int, words: NDArray[np.uint32]) -> None:
        if address < 0:
            raise SpecError(f"address must not be negative, not {address}")
        for start in range(0, len(words), SLICE_WORDS):
            part = words[start : start + SLICE_WORDS]
            done = self._library.sim_transfer(
                self._open, what == "write", address + start, len(part),
                part.ctypes.data_as(WORDS), RESPONSE_CYCLES)
            if done < len(part):
                raise DeviceError(f"sent a {what} of byte address {4 * (address + start + done):#x}"
                                  f"; no answer came within {RESPONSE_CYCLES} cycles")


def _build(folder: Path, verilog: str, trace: bool, shim: Path) -> None:
    """Fill a folder with the library and the Verilog it is made from."""
    (folder / "top.v").write_text(verilog, encoding="utf-8")
    made = folder / "made"
    toolchain.call([str(toolchain.verilator_program()), *FLAGS, *["--trace-vcd"] * trace,
                    "-Mdir", str(made), "top.v"], folder)
    include = toolchain.verilator_root() / "include"
    runtime = ["verilated.cpp", "verilated_threads.cpp", *["verilated_vcd_c.cpp"] * trace]
    sources = [*made.glob("*.cpp"), shim, *(include / name for name in runtime)]
    objects, commands = [], []
    for source in sorted(sources, key=lambda path: path.stat().st_size, reverse=True):
        objects.append(str(made / f"{source.stem}.o"))
        often = source == shim or (source.parent == made and "__Slow" not in source.stem)
        commands.append([*COMPILER, OFTEN if often else ONCE, f"-DVM_TRACE={int(trace)}",
                         f"-DVM_TRACE_VCD={int(trace)}", f"-I{made}", f"-I{include}",
                         f"-I{include / 'vltstd'}", "-c", str(source), "-o", objects[-1]])
    toolchain.call_all(commands, folder)
    toolchain.call(["g++", "-shared", "-o", LIBRARY, *objects, "-lpthread"], folder)
    shutil.rmtree(made)
