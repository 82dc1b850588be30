"""A board as a device: gateware behind a transport, in silicon or in a simulator."""

# Keeps ArrayLike short in help().
from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from numpy.typing import ArrayLike

from pbitstream.closing import Closing
from pbitstream.devices.board.link import Link
from pbitstream.devices.board.pages import Pages
from pbitstream.devices.board.placement import CONSTANTS, Placement, Words, place
from pbitstream.devices.board.relaxation import Counters, run_call
from pbitstream.devices.board.traffic import CountedTransport, Traffic
from pbitstream.devices.board.transport import Transport
from pbitstream.devices.call import prepare, to_readout
from pbitstream.devices.protocol import Readout
from pbitstream.errors import DeviceError, DeviceTimeoutError, SpecError
from pbitstream.program import Program
from pbitstream.spec import spec_digest, spec_register
from pbitstream.spec.image import IMAGE_KINDS, Image
from pbitstream.spec.registers import MAGIC

__all__ = ["Board"]


class Board(Closing):
    """Gateware behind a `Transport`; implements `pbitstream.devices.protocol.Device`.

    One chain relaxes at a time, while the host reads the last one and sends the next input.

    Parameters
    ----------
    transport
        The link; the board closes it.
    name
        What `info` calls the device.

    Raises
    ------
    DeviceError
        If what answers is not a board, or was built for another spec.
    """

    def __init__(self, transport: Transport, *, name: str = "board") -> None:
        self.name = name
        self.program: Program | None = None
        self._placement: Placement | None = None
        self._counters = Counters()
        self._counted = CountedTransport(transport)
        self._link: Link | None = Link(self._counted)
        self._stuck = False
        try:
            self.image = _image(self._link)
            self._tables = Pages(self._counted, self.image, "shadow")
            self._inputs = Pages(self._counted, self.image, "page")
            self.reset()
        except BaseException:
            transport.close()
            raise

    @property
    def transport(self) -> Transport:
        """The link, for whoever passes it on; `reset` the board after others have used it."""
        self._open()
        return self._counted.inner

    def load(self, program: Program, *, force: bool = False) -> None:
        """Load a program; see `Device.load`. Cost: its tables once over the link."""
        if not isinstance(program, Program):
            raise SpecError(f"program must be a Program, not a {type(program).__name__}; "
                            "build() one, or Program.open a file")
        program.check(force=force)
        placement = place(program, self.image)
        with self._at_work() as link:
            self.program = self._placement = None
            self._switch(link, placement.shadow({n: program.tables[n] for n in CONSTANTS}))
        self.program, self._placement = program, placement

    def relax(self, h: ArrayLike, **arguments: Any) -> Readout:
        """Let the substrate settle and return time averages; arguments as in `Device.relax`.

        A board that is interrupted stops, and can be asked again.
        """
        if self.program is None or self._placement is None:
            raise DeviceError("no program is loaded; call load first")
        call = prepare(self.program, h, **arguments)
        placement = self._placement
        stiffness = {"k2": call.k2, "k4": call.k4}
        with self._at_work() as link:
            sums, self._counters = run_call(
                link, placement, self._inputs, call,
                lambda row: self._switch(link, placement.shadow({**stiffness, **vars(row)})),
            )
        return to_readout(self.program, call, sums)

    def counters(self) -> dict[str, int]:
        """Return clock cycles of the last call and those in which every lane multiplied."""
        return asdict(self._counters)

    def traffic(self) -> Traffic:
        """Return what this driver has sent and received over the link since it was opened."""
        return self._counted.traffic

    def info(self) -> dict[str, Any]:
        """Return what this device is, as plain data."""
        return {
            "device": self.name,
            "kind": "digital gateware, bit-exact; not a physical substrate",
            "image": {**asdict(self.image), "kinds": list(self.image.kinds)},
            "link_errors": self._open().get("link_errors"),
            "spec_digest": spec_digest(),
            "program_digest": None if self.program is None else self.program.digest,
        }

    def reset(self) -> None:
        """Stop whatever runs and forget the program."""
        link = self._open()
        self.program = self._placement = None
        self._tables.forget()
        self._inputs.forget()
        link.control("reset")
        link.settle("a reset")
        self._stuck = False

    def close(self) -> None:
        """Leave the board idle and let go of the link."""
        link, self._link = self._link, None
        self.program = self._placement = None
        if link is not None:
            try:
                # A link that is broken can only be let go of.
                with suppress(DeviceError):
                    link.control("reset")
            finally:
                link.transport.close()

    def _open(self) -> Link:
        if self._link is None:
            raise DeviceError("the board is closed; open it again")
        return self._link

    @contextmanager
    def _at_work(self) -> Iterator[Link]:
        """Yield the link to an idle board; after any error stop it and trust no memory of it."""
        link = self._open()
        if self._stuck:
            raise DeviceError("the board did not finish its last task in time; reset() it")
        try:
            yield link
        except BaseException as error:
            self._tables.forget()
            self._inputs.forget()
            self._stuck = isinstance(error, DeviceTimeoutError)
            try:
                link.control("stop")
                if not self._stuck:
                    link.settle("a stop")
            except DeviceError as further:
                # The first error is what is told; a board that did not stop needs a reset.
                self._stuck |= isinstance(further, DeviceTimeoutError)
            raise

    def _switch(self, link: Link, words: Words) -> None:
        """Make the board's tables these words, unless they already are."""
        if self._tables.active(words):
            return
        self._tables.write(words)
        crc = zlib.crc32(words.astype("<u4").tobytes())
        link.set("commit", crc)
        link.settle(f"tables of {words.nbytes} bytes and their CRC-32 {crc:08x}")
        self._tables.flip()


def _image(link: Link) -> Image:
    """Return the parameters of the image behind a link; DeviceError if it is not one of ours."""
    magic = link.get("magic")
    if magic != MAGIC:
        raise DeviceError(f"sent a read of address 0; {magic:#010x} came back and not {MAGIC:#010x}"
                          ", so this is not a board with our image; flash one")
    digest = link.get("spec_digest")
    if digest != spec_register():
        shown = digest.to_bytes(8, "little").hex()
        raise DeviceError(f"the board's image was built for spec {shown}, this is spec "
                          f"{spec_digest()[:16]}; flash an image of this version")
    kinds = link.get("kinds")
    names = "lanes", "max_units", "max_rank_words", "max_modules", "max_instructions", "max_gains"
    try:
        return Image(kinds=tuple(k for bit, k in enumerate(IMAGE_KINDS) if kinds >> bit & 1),
                     **{name: link.get(name) for name in names})
    except SpecError as error:
        raise DeviceError(f"the board says of itself what no image is: {error}") from error
