"""The driver of boards, against a board in software: bits, traffic, refusals, and breakdowns."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from board_model import BUSY, ModelTransport
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.board import Board, link
from pbitstream.devices.conformance import Sizes, check_device, same_readout
from pbitstream.devices.protocol import Settings
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, DeviceTimeoutError, SpecError
from pbitstream.program import Program
from pbitstream.spec import spec_digest
from pbitstream.spec.image import Image
from pbitstream.spec.registers import MAGIC, REGISTERS

IMAGE = Image(lanes=8, max_units=256, max_rank_words=1024, max_modules=8, max_instructions=128,
              max_gains=256)
WIDE = Image(lanes=64, max_units=1024, max_rank_words=1024, max_modules=8, max_instructions=128,
             max_gains=256)
ADDRESSES = {register.name: register.address for register in REGISTERS}


def pair() -> Program:
    """Return x (5, Langevin), p (6, p-bits) and c (3, clamped), coupled."""
    rng = np.random.default_rng(5)
    builder = ProgramBuilder()
    x, p, c = builder.langevin("x", 5), builder.pbit("p", 6), builder.clamped("c", 3)
    builder.low_rank(x, p, rng.normal(size=(5, 2)), rng.normal(size=(6, 2)), [0.2, 0.1])
    builder.band(c, x, {0: [0.5, 0.25, 0.1, 0.0, 0.0]})
    return builder.build()


def call(inputs: int = 2, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(6)
    return {"h": rng.normal(size=(inputs, 14)), "clamp": rng.normal(size=(inputs, 3)), "steps": 3,
            "burn_in": 1, "seed": 7, "chains": 2, **changes}


def expected(arguments: dict[str, Any]) -> Any:
    with Emulator(engine="oracle") as oracle:
        oracle.load(pair())
        return oracle.relax(**arguments)


@pytest.mark.parametrize(("image", "lazy", "seed"), [
    (IMAGE, True, 0), (IMAGE, False, 1), (WIDE, True, 2), (WIDE, True, 3)])
def test_conformance(image: Image, lazy: bool, seed: int) -> None:
    program = random_program(np.random.default_rng([31, seed]), board=True, alive=True, max_dim=24)
    check_device(lambda: Board(ModelTransport(image, lazy=lazy)), [program],
                 sizes=Sizes(steps=2, chains=2))


def test_what_is_on_the_board_is_not_sent_again() -> None:
    transport = ModelTransport(IMAGE)
    with Board(transport) as board:
        board.load(pair())
        tables = 4 * sum(IMAGE.window_words()[n]
                         for n in ("modules", "stiffness", "instructions", "tables"))
        assert transport.written["shadow"] == tables
        board.relax(**call())
        page = 4 * sum(IMAGE.window_words()[n] for n in ("gains", "biases"))
        assert transport.written["page"] == 2 * page
        board.relax(**call())
        # The same two inputs again: each is on the page that it needs.
        assert transport.written == {**transport.written, "shadow": tables, "page": 2 * page}
        board.relax(**call(h=np.zeros((2, 14))))
        assert 0 < transport.written["page"] - 2 * page < 2 * page
        # Other settings: the page of two commits ago was never written, so it is written whole.
        hot = Settings(temperature=[0.5, np.nan, np.nan])
        board.relax(**call(settings=hot))
        assert transport.written["shadow"] == 2 * tables
        # Back to the program's own, and the other ones again: a few words each time.
        for settings in (None, hot, None):
            got = board.relax(**call(settings=settings))
            same_readout(got, expected(call(settings=settings)))
        assert transport.written["shadow"] == 2 * tables


def test_the_next_input_is_sent_while_the_board_is_busy() -> None:
    class Watched(ModelTransport):
        busy: list[bool] = []  # noqa: RUF012

        def write(self, address: int, data: bytes) -> None:
            before = self.written["page"]
            super().write(address, data)
            if self.written["page"] > before:
                self.busy.append(self.task is not None)

    transport = Watched(IMAGE)
    with Board(transport) as board:
        board.load(pair())
        board.relax(**call(inputs=4))
    # Gains and biases of the first input find the board idle, all others find it at work.
    assert transport.busy[:2] == [False, False]
    assert all(transport.busy[2:])
    assert len(transport.busy) >= 5


def test_counters_are_those_of_the_last_call() -> None:
    with Board(ModelTransport(IMAGE)) as board:
        assert board.counters() == {"cycles": 0, "multiplying": 0}
        board.load(pair())
        board.relax(**call(steps=4))
        first = board.counters()
        assert 0 < first["multiplying"]
        board.relax(**call(steps=4))
        assert board.counters() == first
        board.relax(**call(steps=9))
        # Two inputs, two chains; every step multiplies alike.
        assert board.counters()["multiplying"] == first["multiplying"] * 10 // 5


def test_info() -> None:
    with Board(ModelTransport(IMAGE), name="model") as board:
        info = board.info()
        assert (info["device"], info["program_digest"], info["link_errors"]) == ("model", None, 0)
        assert info["spec_digest"] == spec_digest()
        assert info["image"] == {
            "lanes": 8, "max_units": 256, "max_rank_words": 1024, "max_modules": 8,
            "max_instructions": 128, "max_gains": 256,
            "kinds": ["langevin", "pbit", "low-rank", "band"]}
        board.load(pair())
        assert board.info()["program_digest"] == pair().digest


@pytest.mark.parametrize(("values", "message"), [
    ({"magic": 0xFFFFFFFF},
     f"sent a read of address 0; 0xffffffff came back and not {MAGIC:#010x}, so this is not a "),
    ({"spec_digest": 0x0123456789ABCDEF},
     f"the board's image was built for spec efcdab8967452301, this is spec {spec_digest()[:16]}; "),
    ({"lanes": 7}, "the board says of itself what no image is: lanes must be a power of two"),
    ({"kinds": 0}, "the board says of itself what no image is: kinds must be some of"),
])
def test_only_our_boards_are_opened(values: dict[str, int], message: str) -> None:
    transport = ModelTransport(IMAGE)
    transport.values.update(values)
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}"):
        Board(transport)
    assert transport.closed


def test_a_closed_board() -> None:
    transport = ModelTransport(IMAGE)
    board = Board(transport)
    board.load(pair())
    board.close()
    board.close()
    assert transport.closed
    for ask in (board.reset, board.info, lambda: board.load(pair())):
        with pytest.raises(DeviceError, match=r"^the board is closed; open it again$"):
            ask()
    with pytest.raises(DeviceError, match=r"^no program is loaded; call load first$"):
        board.relax(**call())


def test_load_takes_programs() -> None:
    with Board(ModelTransport(IMAGE)) as board, pytest.raises(
        SpecError, match=r"^program must be a Program, not a str; build\(\) one"
    ):
        board.load("ring-5")  # type: ignore[arg-type]


def test_tables_that_arrive_damaged_are_refused() -> None:
    class Noisy(ModelTransport):
        noisy = True

        def write(self, address: int, data: bytes) -> None:
            if len(data) == 4 * IMAGE.window_words()["tables"] and self.noisy:
                data = bytes([data[0] ^ 1]) + data[1:]
            super().write(address, data)

    transport = Noisy(IMAGE)
    with Board(transport) as board:
        with pytest.raises(DeviceError, match=r"^sent tables of \d+ bytes and their CRC-32 "
                                              r"[0-9a-f]{8}; the board refused it: what "):
            board.load(pair())
        with pytest.raises(DeviceError, match=r"^no program is loaded"):
            board.relax(**call())
        transport.noisy = False
        board.load(pair())
        same_readout(board.relax(**call()), expected(call()))


def test_a_short_answer() -> None:
    class Short(ModelTransport):
        def read(self, address: int, count: int) -> bytes:
            return super().read(address, count)[:-1]

    with pytest.raises(DeviceError, match=r"^sent a read of 4 bytes of magic at 0x0; 3 bytes came "
                                          r"back$"):
        Board(Short(IMAGE))


class Stuck(ModelTransport):
    """A board that goes on for ever once it is started; its clock runs on or stands still."""

    stuck, running = False, True

    def _start(self) -> None:
        super()._start()
        if self.stuck:
            self.left = 1 << 60

    def _get(self, address: int) -> int:
        if self.stuck and self.running and address == ADDRESSES["cycles"]:
            self.values["cycles"] += 1 << 18
        return super()._get(address)


@pytest.mark.parametrize("running", [True, False])
def test_a_board_that_does_not_finish_needs_a_reset(
    monkeypatch: pytest.MonkeyPatch, running: bool
) -> None:
    monkeypatch.setattr(link, "SECONDS", 0.05)
    transport = Stuck(IMAGE)
    message = (r"^sent a start of chain 0; the board is busy after \d+ of its cycles, more than "
               r"the \d+ that it may take; reset\(\) it$" if running else
               r"^sent a start of chain 0; the board is busy and has stood still for 0.05 s; ")
    with Board(transport) as board:
        board.load(pair())
        transport.stuck, transport.running = True, running
        with pytest.raises(DeviceTimeoutError, match=message):
            board.relax(**call())
        transport.stuck = False
        for ask in (lambda: board.relax(**call()), lambda: board.load(pair())):
            with pytest.raises(DeviceError, match=r"^the board did not finish its last task in "
                                                  r"time; reset\(\) it$"):
                ask()
        board.reset()
        board.load(pair())
        same_readout(board.relax(**call()), expected(call()))


class Breaks(ModelTransport):
    """A link on which request number `at` raises `error` instead of, or after, being served."""

    at, error, served = -1, KeyboardInterrupt, False

    def _count(self, serve: Callable[[], Any]) -> Any:
        self.at -= 1
        if self.at == 0:
            if self.served:
                serve()
            raise self.error
        return serve()

    def read(self, address: int, count: int) -> bytes:
        answer: bytes = self._count(lambda: super(Breaks, self).read(address, count))
        return answer

    def write(self, address: int, data: bytes) -> None:
        self._count(lambda: super(Breaks, self).write(address, data))


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, DeviceError])
def test_an_interrupted_call_leaves_nothing_behind(
    error: type[BaseException], served: bool
) -> None:
    other = call(inputs=3, chains=1, settings=Settings(beta=[np.nan, 0.5, np.nan]))
    wanted = expected(other)
    transport = Breaks(IMAGE)
    transport.error, transport.served = error, served  # type: ignore[assignment]
    with Board(transport) as board:
        board.load(pair())
        at = 1
        while True:
            board.relax(**call(inputs=1, chains=1))
            transport.at = at
            try:
                board.relax(**other)
            except error:
                # Stopped, and ready for the next call.
                assert transport.task is None
                assert not transport.values["status"] & BUSY
            unbroken, transport.at = transport.at > 0, -1
            if unbroken:
                break
            same_readout(board.relax(**other), wanted)
            at += 1
    # Every request of a call was interrupted once.
    assert at > 40


def test_an_interrupted_load_leaves_no_program() -> None:
    transport = Breaks(IMAGE)
    with Board(transport) as board:
        board.load(pair())
        transport.at = 2
        with pytest.raises(KeyboardInterrupt):
            board.load(random_program(np.random.default_rng(3), board=True, max_dim=8), force=True)
        with pytest.raises(DeviceError, match=r"^no program is loaded"):
            board.relax(**call())
        board.load(pair())
        same_readout(board.relax(**call()), expected(call()))


def test_close_lets_go_of_a_broken_link() -> None:
    transport = Breaks(IMAGE)
    transport.error = DeviceError  # type: ignore[assignment]
    board = Board(transport)
    transport.at = 1
    board.close()
    assert transport.closed


def test_a_call_of_many_kinds_of_argument() -> None:
    for seed in range(8):
        rng = np.random.default_rng([33, seed])
        program = random_program(rng, board=True, max_dim=16)
        with Board(ModelTransport(IMAGE)) as board, Emulator(engine="oracle") as oracle:
            board.load(program, force=True)
            oracle.load(program, force=True)
            for _ in range(4):
                arguments = random_call(program, rng)
                same_readout(board.relax(**arguments), oracle.relax(**arguments))
