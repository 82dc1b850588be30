"""An instruction set interpreter, slow and obvious: what a board does with its tables.

Instructions run in order and take no time, but what they start is finished as late as it may be: a
row update or a projection becomes visible only when a later instruction waits for it. So a `wait`
that is too small is found: something stale is read. The equations are those of the numerics, a
third time, on Python integers.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.spec.fixed import rhu, sat
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import COPIES, MODULE, Decoded, decode
from pbitstream.spec.noise import NOISE_MEAN, STREAMS, fields, reset_spin, xorshift64
from pbitstream.spec.sigmoid import sigmoid_table
from pbitstream.spec.words import FIELD_FRACTIONS

__all__ = ["Machine", "MisledError"]

Words = NDArray[np.uint32]
COPY_NAMES = {code: name for name, code in COPIES.items()}


class MisledError(AssertionError):
    """The instructions read what is not there: too early, or never written."""


class Machine:
    """A board at work on one chain.

    Parameters
    ----------
    image
        Its memories.
    tables, page
        Words of the active shadow and page windows, by name.
    words
        The 128 stream words, seeded or stored.
    states
        Stored states of all slots to go on from, or None.
    spin_rows
        Rows of 128 p-bits that have a reset spin.
    lazy
        Finish what is started as late as possible; otherwise at once.
    """

    def __init__(self, image: Image, tables: Mapping[str, Words], page: Mapping[str, Words],
                 words: list[int], states: list[int] | None, spin_rows: int,
                 lazy: bool = True) -> None:
        self.image, self.lazy, self.states, self.spin_rows = image, lazy, states, spin_rows
        self.table = tables["tables"].view("<i2").reshape(-1, image.lanes).astype(np.int64)
        quads = tables["instructions"].astype("<u4").tobytes()
        self.code = [int.from_bytes(quads[i : i + 16], "little") for i in range(0, len(quads), 16)]
        self.modules = [_fields(MODULE, int(word)) for word in tables["modules"].view("<u8")]
        self.k2 = [int(word) & 0xFFFF for word in tables["stiffness"]]
        self.k4 = [int(word) >> 16 for word in tables["stiffness"]]
        self.gains = [int(word) for word in page["gains"].astype(np.uint16).view(np.int16)]
        self.biases = [int(word) for word in page["biases"].view("<i2")]
        slots = image.max_units
        self.x = [0] * slots
        self.exposed = np.zeros((2, slots), np.int64)
        self.sums, self.squares = [0] * slots, [0] * slots
        self.words, self.first_words = list(words), list(words)
        self.clips = [0] * 5
        self.cycles = self.multiplying = 0
        # Who wrote a row: None, "fixed", or the number of the step that did.
        self.writer: list[Any] = [None] * image.rows
        self.step_number, self.parity = -1, 0
        self.results: dict[int, int] = {}
        self.sum: NDArray[np.int64] | None = None
        # Row updates and results that are under way, and how many this step has started.
        self.rows_under_way: deque[tuple[int, int, dict[int, tuple[int, int]]]] = deque()
        self.results_under_way: deque[tuple[int, int]] = deque()
        self.rows_started = self.results_started = 0

    def run(self, burn_in: int, steps: int, moments: bool) -> None:
        """Run the prologue, then every step."""
        begin = self._run_from(0, False, False)
        for step in range(burn_in + steps):
            self._written(self.rows_started if step == 0 else -(1 << 30))
            self.step_number, self.parity = step, step % 2
            self.rows_started = self.results_started = 0
            self._run_from(begin, step >= burn_in, moments)
        self._written(self.rows_started)

    def _run_from(self, at: int, window: bool, moments: bool) -> int:
        """Run to the next ``last``; return the address after it."""
        row = 0
        while True:
            item = decode(self.code[at])
            self.cycles += 1
            if item.kind == "project":
                self._project(item)
            elif item.kind == "expand":
                self._expand(item, row)
            elif item.kind == "band":
                self._band(item, row)
            else:
                self._update(item, row, window, moments)
                if row + 1 < item["rows"]:
                    at, row = item["group"], row + 1
                    continue
                row = 0
                if item["last"]:
                    return at + 1
            at += 1

    # What is under way.

    def _written(self, count: int) -> None:
        """Finish row updates until so many that this step started are written."""
        while self.rows_under_way and (
            not self.lazy or self.rows_started - len(self.rows_under_way) < count
        ):
            _, copy, units = self.rows_under_way.popleft()
            for slot, (state, shown) in units.items():
                self.x[slot], self.exposed[copy, slot] = state, shown

    def _projected(self, count: int) -> None:
        while self.results_under_way and (
            not self.lazy or self.results_started - len(self.results_under_way) < count
        ):
            address, value = self.results_under_way.popleft()
            self.results[address] = value

    def _read(self, item: Decoded, slots: NDArray[np.int64], weights: NDArray[np.int64]) -> Any:
        """Return exposed states, after a look at whether those with a weight are there."""
        self._written(item["wait"])
        name = COPY_NAMES[item["copy"]]
        copy = {"fixed": 0, "old": self.parity, "new": 1 - self.parity}[name]
        used = {int(row) for row in slots[weights.any(axis=0)] // self.image.lanes}
        for row in used:
            writer = self.writer[row]
            right = {"fixed": writer == "fixed", "new": writer == self.step_number,
                     "old": isinstance(writer, int)}[name]
            if not right:
                raise MisledError(f"{item.kind} reads {name} row {row}, written by {writer}")
        for row, under_way, _ in self.rows_under_way:
            if row in used and under_way == copy:
                raise MisledError(f"{item.kind} with wait {item['wait']} reads stale row {row}")
        return self.exposed[copy, slots]

    # Instructions.

    def _project(self, item: Decoded) -> None:
        self.sum = None
        lanes, count, rows = self.image.lanes, item["count"], item["rows"]
        weights = self.table[item["table"] : item["table"] + count * rows]
        weights = weights.reshape(count, rows * lanes)
        slots = (item["row"] * lanes + np.arange(rows * lanes)) % self.image.max_units
        totals = weights @ self._read(item, slots, weights)
        self.multiplying += count * rows
        for c, total in enumerate(totals):
            z = self._sat(rhu(int(total), item["shift_z"]), 16, 0)
            u = self._sat(rhu(self.gains[item["gain"] + c] * z, item["shift_u"]), 16, 1)
            self.results_under_way.append((item["result"] + c, u))
            self.results_started += 1
        if not self.lazy:
            self._projected(0)

    def _expand(self, item: Decoded, row: int) -> None:
        self._begin(item)
        self._projected(item["wait_results"])
        stale = {address for address, _ in self.results_under_way}
        for c in range(item["count"]):
            address = item["result"] + c
            if address in stale or address not in self.results:
                raise MisledError(f"expand reads stale result {address}")
            self._add(self.table[item["table"] + row + c * item["rows"]], self.results[address])
        self.multiplying += item["count"]

    def _band(self, item: Decoded, row: int) -> None:
        self._begin(item)
        lanes = self.image.lanes
        first = (item["row"] + row) * lanes + item["rotate"]
        slots = (first + np.arange(lanes)) % self.image.max_units
        weights = self.table[item["table"] + row]
        self._add(weights, self._read(item, slots, weights[None]))
        self.multiplying += 1

    def _begin(self, item: Decoded) -> None:
        if item["clear"]:
            self.sum = np.zeros(self.image.lanes, np.int64)

    def _add(self, weights: NDArray[np.int64], operand: Any) -> None:
        if self.sum is None:
            raise MisledError("a sum goes on that was not begun")
        self.sum = self.sum + weights * operand
        assert (abs(self.sum) < 1 << 31).all()

    def _update(self, item: Decoded, row: int, window: bool, moments: bool) -> None:
        self._begin(item)
        self._written(item["wait"])
        if self.sum is None:
            raise MisledError("an update of a sum that was not begun")
        lanes, at = self.image.lanes, item["row"] + row
        if any(under_way == at for under_way, _, _ in self.rows_under_way):
            raise MisledError(f"update with wait {item['wait']} of row {at}, which is under way")
        constants = self.modules[item["module"]]
        units = {}
        for lane in range(min(lanes, item["dim"] - row * lanes)):
            slot, unit = at * lanes + lane, row * lanes + lane
            if item["init"]:
                state = self._first(constants, slot, unit)
                self.sums[slot] = self.squares[slot] = 0
            elif constants["pbit"]:
                state = self._pbit(constants, slot, unit, int(self.sum[lane]))
            else:
                state = self._langevin(constants, slot, unit, int(self.sum[lane]))
            shown = (2 * state - 1) * 4096 if constants["pbit"] else sat(rhu(state, 8), 16)
            value = 2 * state - 1 if constants["pbit"] else shown
            if window:
                self.sums[slot] += value
                self.squares[slot] += value * value if moments else 0
            units[slot] = state, shown
        self.writer[at] = "fixed" if constants["clamped"] else self.step_number
        self.rows_under_way.append((at, 0 if item["init"] else 1 - self.parity, units))
        self.rows_started += 1
        self.sum = None
        if not self.lazy:
            self._written(0)

    # Units.

    def _first(self, constants: dict[str, int], slot: int, unit: int) -> int:
        if constants["clamped"]:
            held = self.biases[slot]
            return int(held > 0) if constants["pbit"] else held << 8
        if self.states is not None:
            return self.states[slot]
        if not constants["pbit"]:
            return 0
        if unit // STREAMS >= self.spin_rows:
            raise MisledError(f"p-bit row {unit // STREAMS} has no reset spin")
        return reset_spin(self.first_words[unit % STREAMS], unit // STREAMS)

    def _biased(self, constants: dict[str, int], slot: int, field: int) -> tuple[int, int]:
        """Return the field with its bias, and F."""
        fraction = FIELD_FRACTIONS[constants["fraction"]]
        return field + (self.biases[slot] << (fraction - 12)), fraction

    def _langevin(self, constants: dict[str, int], slot: int, unit: int, field: int) -> int:
        f, fraction = self._biased(constants, slot, field)
        x24 = self.x[slot]
        big = sat(rhu(x24, 8), 16)
        stiffness = self.k2[slot] + rhu(self.k4[slot] * rhu(big * big, 14), 12)
        kappa = min(32767, stiffness)
        self.clips[2] += kappa != stiffness
        kick = 0
        if constants["noise_gain"]:
            stream = unit % STREAMS
            self.words[stream] = xorshift64(self.words[stream])
            n = sum(fields(self.words[stream])) - NOISE_MEAN
            kick = rhu(n * constants["noise_gain"], constants["noise_shift"])
        drift = rhu((f << (30 - fraction)) - kappa * x24, 10 + constants["dt_shift"])
        return self._sat(x24 + drift + kick, 24, 3)

    def _pbit(self, constants: dict[str, int], slot: int, unit: int, field: int) -> int:
        f, fraction = self._biased(constants, slot, field)
        stream, row = unit % STREAMS, unit // STREAMS
        if row % 4 == 0:
            self.words[stream] = xorshift64(self.words[stream])
        p = constants["beta"] * self._sat(rhu(f, fraction - 10), 18, 4)
        threshold = sigmoid_table()[min((abs(p) + (1 << 14)) >> 15, 1023)]
        return int(fields(self.words[stream])[row % 4] < (
            threshold if p >= 0 else 65536 - threshold))

    def _sat(self, value: int, bits: int, counter: int) -> int:
        clipped = sat(value, bits)
        self.clips[counter] += clipped != value
        return clipped


def _fields(layout: Mapping[str, int], word: int) -> dict[str, int]:
    values = {}
    for name, bits in layout.items():
        values[name] = word & ((1 << bits) - 1)
        word >>= bits
    return values
