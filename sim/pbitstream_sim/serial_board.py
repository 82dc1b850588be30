"""A simulated board behind a pseudo-terminal: any program may talk to it as to a serial device.

    python -m pbitstream_sim.serial_board [--image tiny]

prints a path such as ``/dev/pts/7``; `pbitstream infer -d 'serial:/dev/pts/7?baud=3000000'` finds
the RTL there. The line runs at the rate that the program sets, in simulated time: as fast as this
computer simulates, and with two clock cycles per bit at 3 Mbaud.
"""

import argparse
import os
import select
import sys
import termios
import tty
from collections.abc import Callable

from pbitstream.spec.frames import BAUDS
from pbitstream_sim.serial_line import SerialSimulation, serial_verilog

__all__ = ["main", "open_pty", "serve"]

#: Cycles simulated between two looks at the terminal.
SLICE_CYCLES = 1 << 14
#: Seconds to wait for something to do.
NAP = 0.05
#: Bytes that leave the terminal at a time.
READ_BYTES = 1 << 10


def open_pty() -> tuple[int, int]:
    """Return both ends of a new pseudo-terminal: ours, and the one that has a name."""
    ours, theirs = os.openpty()
    # Bytes pass as they are; the other end stays open, so that programs may come and go.
    tty.setraw(theirs)
    os.set_blocking(ours, False)
    return ours, theirs


def serve(board: SerialSimulation, ours: int, stop: Callable[[], bool]) -> None:
    """Carry bytes between a board and our end of a pseudo-terminal until told to stop."""
    rates = {getattr(termios, f"B{baud}"): baud for baud in BAUDS if hasattr(termios, f"B{baud}")}
    unsent, idle = b"", False
    while not stop():
        # What the program has set for its end is seen at ours.
        board.set_baud(rates.get(termios.tcgetattr(ours)[5], BAUDS[0]))
        try:
            # No faster than the line takes them: whoever writes waits, as at a real one, and what
            # it sends again on a slow computer does not pile up.
            if board.empty:
                board.push(os.read(ours, READ_BYTES))
        except BlockingIOError:
            if idle:
                select.select([ours], [], [], NAP)
                idle = False
                continue
        ran, come = board.run(SLICE_CYCLES), board.pull()
        unsent += come
        # It ended early though nothing came: nothing will, unless something is sent.
        idle = ran < SLICE_CYCLES and not come and not unsent
        try:
            unsent = unsent[os.write(ours, unsent) :] if unsent else unsent
        except BlockingIOError:
            select.select([], [ours], [], NAP)


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns 0."""
    from pbitstream_gateware.presets import PRESETS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", choices=PRESETS, default="tiny", help="what it holds (tiny)")
    image = PRESETS[parser.parse_args(arguments).image]
    with SerialSimulation(serial_verilog(image)) as board:
        ours, theirs = open_pty()
        sys.stdout.write(f"{os.ttyname(theirs)}\n")
        sys.stdout.flush()
        try:
            serve(board, ours, lambda: False)
        except KeyboardInterrupt:
            return 0
        finally:
            os.close(ours)
            os.close(theirs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
