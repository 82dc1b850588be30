"""Power sensors of this computer: what Linux shows of INA226, PMBus regulators and their like.

A rail is ``CHIP/NAME``, NAME its label where the driver gives one: ``ina226_u14/power1``,
``tps53679/pout1``. Files ``power*_input`` hold microwatts, ``energy*_input`` microjoules since some
start. A regulator's input and output are two rails, of which a sum wants one.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pbitstream.energy.trace import Trace
from pbitstream.errors import DeviceError, SpecError

__all__ = ["HWMON", "Sensors", "find_rails", "now"]

HWMON = Path("/sys/class/hwmon")
#: Seconds between two samples.
PERIOD = 0.1
_EPOCH = time.time() - time.monotonic()


def now() -> float:
    """Return Unix seconds of a clock that nobody sets while the process runs."""
    return _EPOCH + time.monotonic()


def find_rails(root: Path = HWMON) -> dict[str, Path]:
    """Return the files of all rails by name; chips of one name are told apart by their number."""
    chips = [(_text(folder / "name") or folder.name, folder) for folder in sorted(root.glob("*"))]
    several = Counter(chip for chip, _ in chips)
    rails = {}
    for chip, folder in chips:
        called = chip if several[chip] == 1 else f"{chip}.{folder.name}"
        for path in sorted([*folder.glob("power*_input"), *folder.glob("energy*_input")]):
            name = path.name.removesuffix("_input")
            rail = f"{called}/{_text(folder / f'{name}_label') or name}"
            rails[f"{called}/{name}" if rail in rails else rail] = path
    return rails


class Sensors:
    """Samples rails in a thread, from entering to leaving.

    Parameters
    ----------
    names
        Of rails; none means the only one there is.
    root
        Where Linux shows its sensors.

    Raises
    ------
    DeviceError
        If there is no rail.
    SpecError
        If a rail is unknown or given twice, or none is given and there are several.
    """

    clock = f"sampled by this computer every {PERIOD:g} s"

    def __init__(self, names: Sequence[str] = (), root: Path | None = None) -> None:
        root = HWMON if root is None else root
        rails = find_rails(root)
        if not rails:
            raise DeviceError(f"no power sensor under {root}; give the log of a meter, FILE.csv")
        known = ", ".join(rails)
        if not names and len(rails) > 1:
            raise SpecError(f"hwmon must name the rails to add, as in hwmon:{next(iter(rails))}; "
                            f"there are {known}")
        for name in names:
            if name not in rails:
                raise SpecError(f"rail must be one of {known}, not {name!r}")
        if len(set(names)) < len(names):
            raise SpecError(f"rails must be given once each, not {', '.join(names)}")
        self._rails = {name: rails[name] for name in names or rails}
        self._samples: dict[str, list[tuple[float, int]]] = {name: [] for name in self._rails}
        self._stopped = threading.Event()
        self._failure: OSError | ValueError | None = None
        # A daemon, so that nothing can keep the program from ending.
        self._thread = threading.Thread(target=self._sample, name="hwmon", daemon=True)

    def traces(self, since: float, until: float) -> dict[str, Trace]:
        """Return what was sampled from entering to now, over two moments; ends sampling.

        Raises
        ------
        DeviceError
            If a sensor could not be read, or its counter fell.
        """
        self._stop()
        if self._failure is None:
            self._once()
        if self._failure is not None:
            raise DeviceError(f"a power sensor failed: {self._failure}") from self._failure
        found = {}
        for name, samples in self._samples.items():
            times, codes = zip(*samples)
            try:
                if self._rails[name].name.startswith("power"):
                    found[name] = Trace(times, power=[1e-6 * code for code in codes])
                else:
                    found[name] = Trace(times, energy=[1e-6 * (c - codes[0]) for c in codes])
            except SpecError as error:
                raise DeviceError(f"rail {name}: {error}") from error
        return found

    def __enter__(self) -> "Sensors":
        """Take the first sample and start the thread."""
        self._once()
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        """Stop the thread, whatever happened."""
        self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopped.wait(PERIOD) and self._failure is None:
            self._once()

    def _once(self) -> None:
        """Read every rail once; each sample is stamped with the middle of its reading."""
        for name, path in self._rails.items():
            began = now()
            try:
                code = int(path.read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                self._failure = error
                return
            self._samples[name].append(((began + now()) / 2, code))


def _text(path: Path) -> str:
    """Return the word in a small file, or nothing."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
