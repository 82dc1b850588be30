"""Thermodynamic computing: stochastic units, programmable couplings, one driver.

Start with `ProgramBuilder` (or ``Program.open`` a file; `shipped` names those of the package), open
a device with `open_device`, ``load`` the program and ``relax`` it under biases.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public names load on first use (PEP 562): `pbitstream.spec` needs neither NumPy nor a device.
_PUBLIC = {
    "Conditioning": "pbitstream.conditioning",
    "Device": "pbitstream.devices.protocol",
    "Emulator": "pbitstream.emulator.device",
    "Program": "pbitstream.program",
    "ProgramBuilder": "pbitstream.compiler.builder",
    "Readout": "pbitstream.devices.protocol",
    "Settings": "pbitstream.devices.protocol",
    "State": "pbitstream.devices.protocol",
    "open_device": "pbitstream.devices.registry",
    "shipped": "pbitstream.model",
}

__all__ = sorted([*_PUBLIC, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pbitstream' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
