"""Programs in the memories of images: what fits, where it stands, and what it waits for."""

import re
from typing import Any

import numpy as np
import pytest

from board_machine import MisledError
from board_model import ModelTransport
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.board import Board
from pbitstream.devices.board.assemble import NEVER
from pbitstream.devices.board.placement import CONSTANTS, place
from pbitstream.devices.conformance import Sizes, check_oracle
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import SpecError
from pbitstream.model import shipped
from pbitstream.program import Program
from pbitstream.spec import instructions
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import decode, encode

IMAGES = {
    "8 lanes": Image(lanes=8, max_units=4096, max_rank_words=1 << 14, max_instructions=2048,
                     max_gains=1024),
    "32 lanes": Image(lanes=32, max_units=4096, max_rank_words=1 << 13, max_instructions=2048,
                      max_gains=1024),
    "128 lanes": Image(lanes=128, max_units=4096, max_rank_words=1 << 11, max_instructions=2048,
                       max_gains=1024),
}


def small(**changes: Any) -> Image:
    return Image(**{"lanes": 8, "max_units": 64, "max_rank_words": 64, "max_modules": 4,
                    "max_instructions": 16, "max_gains": 4, **changes})


def coupled(rank: int = 2, dim: int = 12, **kinds: bool) -> Program:
    """Return x (dim, Langevin) and p (dim, p-bits) with a low-rank and a band bank."""
    rng = np.random.default_rng(3)
    builder = ProgramBuilder()
    x, p = builder.langevin("x", dim, k2=4.0), builder.pbit("p", dim)
    builder.low_rank(x, p, rng.normal(size=(dim, rank)), rng.normal(size=(dim, rank)),
                     np.full(rank, 0.05))
    builder.band(x, p, {0: np.full(dim, 0.1), 2: np.r_[np.full(dim - 2, 0.1), 0.0, 0.0]})
    return builder.build()


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("lazy", [True, False])
def test_random_programs_compute_the_numerics(name: str, lazy: bool) -> None:
    for seed in range(14):
        program = random_program(np.random.default_rng([21, seed]), board=True)
        with Board(ModelTransport(IMAGES[name], lazy=lazy)) as board:
            board.load(program, force=True)
            check_oracle(board, program, Sizes(steps=3, chains=2))


@pytest.mark.parametrize("name", ["digits-k16.program", "ring-5"])
def test_shipped_programs_fit_a_small_board(name: str) -> None:
    program = Program.open(shipped(name))
    with Board(ModelTransport(Image(lanes=8, max_units=256, max_rank_words=512))) as board:
        board.load(program)
        check_oracle(board, program, Sizes(steps=2, chains=1))


def test_a_wait_that_is_one_too_small_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model would see a stale read, so the waits of the test above are large enough."""
    def hasty(kind: str, **values: int) -> int:
        if values.get("wait", NEVER) != NEVER:
            values["wait"] -= 1
        return encode(kind, **values)

    def early(kind: str, **values: int) -> int:
        if "wait_results" in values:
            values["wait_results"] -= 1
        return encode(kind, **values)

    programs = [random_program(np.random.default_rng([22, seed]), board=True, max_dim=40)
                for seed in range(10)]
    for wrong in (hasty, early):
        monkeypatch.setattr("pbitstream.devices.board.assemble.encode", wrong)
        found = 0
        for program in programs:
            with Board(ModelTransport(IMAGES["8 lanes"])) as board:
                board.load(program, force=True)
                try:
                    check_oracle(board, program, Sizes(steps=3, chains=1))
                except MisledError:
                    found += 1
        # A program without banks, or without low-rank ones, has nothing to wait for.
        assert found >= 6, wrong


@pytest.mark.parametrize(("image", "message"), [
    (small(kinds=("langevin", "low-rank", "band")),
     "module p is pbit, and this board computes langevin, low-rank, band only; use an image that"),
    (small(kinds=("langevin", "pbit", "band")), "bank 0 is low-rank, and this board computes"),
    (small(kinds=("langevin", "pbit", "low-rank")), "bank 1 is band, and this board computes"),
    (small(max_units=16),
     "units (each module rounded up to rows of 8) of a program must be at most 16 on this board, "),
    (small(max_rank_words=8),
     "table words per lane of a program must be at most 8 on this board, not 16; the emulator "),
    (small(max_instructions=8),
     "instructions of a program must be at most 8 on this board, not 12; the emulator takes any "),
])
def test_limits_are_named(image: Image, message: str) -> None:
    program = coupled()
    transport = ModelTransport(image)
    with Board(transport) as board:
        written = dict(transport.written)
        with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
            board.load(program)
        assert transport.written == written


def test_a_program_that_just_fits() -> None:
    just = small(max_units=32, max_rank_words=16, max_modules=2, max_gains=2)
    with Board(ModelTransport(just)) as board:
        board.load(coupled())
        check_oracle(board, coupled(), Sizes())


def test_more_limits() -> None:
    with pytest.raises(SpecError, match=r"^gains S of a program must be at most 4 on this board, "
                                        r"not 5;"):
        place(coupled(rank=5), small(max_rank_words=128))
    builder = ProgramBuilder()
    for index in range(5):
        builder.pbit(f"p{index}", 1)
    with pytest.raises(SpecError, match=r"^modules of a program must be at most 4 on this board"):
        place(builder.build(), small())
    builder = ProgramBuilder()
    x = builder.langevin("x", 2)
    builder.sparse(x, builder.pbit("p", 1), [0, 1], [0], [0.5])
    with pytest.raises(SpecError, match=r"^bank 0 is sparse, and boards compute low-rank and band"):
        place(builder.build(), small())


def test_both_directions_share_factors_and_gains() -> None:
    program, image = coupled(), small()
    placement = place(program, image)
    layout = placement.layout
    forward, backward = layout.low_rank
    assert (forward.near, forward.far) == (backward.far, backward.near)
    assert forward.gain == backward.gain
    assert {forward.result, backward.result} == {0, 2}
    rows = layout.rows[0]
    a = layout.tables[forward.near : forward.near + 2 * rows.count].reshape(2, -1)
    np.testing.assert_array_equal(a[:, :12].T, program.tables["bank0.a"])
    assert not a[:, 12:].any()
    assert layout.slots.tolist() == [*range(12), *range(16, 28)]
    assert placement.used == 32


def test_bands_count_slots_from_the_source() -> None:
    placement = place(coupled(), small())
    bands = [decode(word) for word in placement.instructions if decode(word).kind == "band"]
    # Backward, into x at row 0, and forward, into p at row 2: rows of the source.
    assert sorted((b["row"], b["rotate"]) for b in bands) == [(0, 0), (0, 2), (1, 6), (2, 0)]
    builder = ProgramBuilder()
    builder.langevin("first", 8)
    x = builder.langevin("x", 8)
    builder.band(x, x, {-1: [0.0, *[0.1] * 7]})
    words = place(builder.build(), small(max_units=16)).instructions
    rows = sorted((b["row"], b["rotate"]) for b in map(decode, words) if b.kind == "band")
    assert rows == [(0, 7), (1, 1)]


def test_a_row_before_the_memory_counts_modulo_its_rows() -> None:
    builder = ProgramBuilder()
    x = builder.langevin("x", 8)
    builder.band(x, x, {-1: [0.0, *[0.1] * 7]})
    words = place(builder.build(), small(max_units=16)).instructions
    assert [b["row"] for b in map(decode, words) if b.kind == "band"] == [1, 0]


def test_a_program_without_banks_only_updates() -> None:
    builder = ProgramBuilder()
    builder.langevin("x", 9)
    builder.clamped("c", 3)
    placement = place(builder.build(), small())
    items = [decode(word) for word in placement.instructions]
    assert [item.kind for item in items] == ["update"] * 3
    assert [(i["init"], i["last"], i["clear"], i["group"], i["rows"], i["dim"]) for i in items] == [
        (1, 0, 1, 0, 2, 9), (1, 1, 1, 1, 1, 3), (0, 1, 1, 2, 2, 9)]
    assert placement.spin_rows == 0


def test_shadow_windows_are_whole_and_hold_constants() -> None:
    program, image = coupled(), small()
    words = place(program, image).shadow({name: program.tables[name] for name in CONSTANTS})
    counts = image.window_words()
    assert len(words) == sum(counts[n] for n in ("modules", "stiffness", "instructions", "tables"))
    assert words[: 4 : 2].tolist() == [
        _low(program, 0, pbit=0), _low(program, 1, pbit=1)]
    stiffness = words[counts["modules"] :][: counts["stiffness"]]
    assert (stiffness[:12] == 4 * 1024).all()
    assert not stiffness[12:].any()


def _low(program: Program, module: int, **fields: int) -> int:
    topology, tables = program.topology, program.tables
    word = instructions.pack(
        instructions.MODULE, fraction=(topology.field_fraction - 16) // 2,
        dt_shift=topology.dt_shift, noise_shift=int(tables["noise_shift"][module]),
        noise_gain=int(tables["noise_gain"][module]), **fields)
    return word & 0xFFFFFFFF

