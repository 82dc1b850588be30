"""Boards as data: every port has a pin, and the PLL makes the clock that was asked for."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbitstream.errors import SpecError
from pbitstream.spec.frames import BAUDS
from pbitstream_gateware.boards import BOARDS, Board, Pin, constraints
from pbitstream_gateware.boards.board import PORTS
from pbitstream_gateware.boards.ecp5 import LEAST_DETECTOR, OSCILLATOR, dividers
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.uart import rate_of


@pytest.fixture(params=BOARDS.values(), ids=BOARDS)
def board(request: pytest.FixtureRequest) -> Board:
    found: Board = request.param
    return found


def test_constraints_name_every_port_and_no_other(board: Board) -> None:
    text = constraints(board, 100_000_000)
    placed = re.findall(r'^LOCATE COMP "(\w+)" SITE "(\w+)";$', text, re.MULTILINE)
    buffered = re.findall(r'^IOBUF PORT "(\w+)" IO_TYPE=\w+', text, re.MULTILINE)
    assert sorted(port for port, _ in placed) == sorted(buffered) == sorted(
        (*PORTS, *board.high))
    assert len({site for _, site in placed}) == len(placed)
    assert f'FREQUENCY PORT "clk" {board.crystal // 1_000_000} MHZ;' in text
    assert 'FREQUENCY NET "pll.o" 100 MHZ;' in text
    assert text.isascii()


def test_a_board_is_whole(board: Board) -> None:
    assert BOARDS[board.name] is board
    assert PRESETS[board.preset].lanes <= board.part.chip.has["multipliers"]
    with pytest.raises(SpecError, match="must be those of busy, clk"):
        replace(board, pins={**board.pins, "spare": Pin("A1", "IO_TYPE=LVCMOS33")})
    with pytest.raises(SpecError, match="must be those of busy, clk"):
        replace(board, pins={name: pin for name, pin in board.pins.items() if name != "rx"})


def test_every_rate_of_the_line_is_exact_enough(board: Board) -> None:
    # A receiver loses a byte when ten bits are off by half of one; both ends take their share.
    for baud in BAUDS:
        made = rate_of(baud, board.clock) * board.clock / (1 << 20)
        assert abs(made / baud - 1) < 0.005


@given(st.integers(1, 40), st.sampled_from([12_000_000, 25_000_000, 100_000_000]))
def test_dividers_make_the_clock_exactly(times: int, crystal: int) -> None:
    clock = 5_000_000 * times
    try:
        found = dividers(crystal, clock)
    except SpecError:
        # None of the possible references divides evenly.
        references = range(1, crystal // LEAST_DETECTOR + 1)
        assert all(clock * n % crystal or clock * n // crystal > 128 for n in references) or not [
            n for n in range(1, 129) if clock * n in OSCILLATOR]
        return
    assert clock * found.reference == crystal * found.feedback
    assert clock * found.output in OSCILLATOR
    assert crystal / found.reference >= LEAST_DETECTOR


def test_80_mhz_of_25() -> None:
    found = dividers(25_000_000, 80_000_000)
    assert (found.reference, found.feedback) == (5, 16)
    for clock in (79_000_000, 900_000_000, 1, 80_000_001):
        with pytest.raises(SpecError, match="clock must be one that the PLL makes of 25 MHz"):
            dividers(25_000_000, clock)
