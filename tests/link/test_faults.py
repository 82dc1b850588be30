"""Link faults, with the RTL frame engine in the loop: the same bits, or an error in time.

A session opens a board, loads tables, relaxes three inputs, compares every bit with the emulator.
The simulated board is never reset in between, so each session also begins where a fault left it.
Time is that of the line, simulated: what is claimed of it does not depend on this computer.
"""

from collections import Counter

import pytest

from link_sessions import IN_TIME, Nth, Session, boundaries, simulation
from pbitstream.devices.wire.chaos import FAULTS, random_plan

#: Faults after which no session needs to fail, since the line comes back at once.
MENDED = tuple(fault for fault in FAULTS if fault != "disconnect")


def in_time(session: Session, what: object) -> None:
    if session.error is not None:
        assert session.late <= IN_TIME, (what, session.late, session.error)


@pytest.mark.parametrize("direction", ["write", "read"])
def test_every_fault_at_every_frame_boundary(direction: str) -> None:
    count = boundaries()[direction]
    sessions = 0
    for fault in FAULTS:
        for at in range(1, count + 1):
            session = Session(Nth(direction, at, fault), at)
            sessions += 1
            in_time(session, (direction, fault, at))
            assert session.port.faults[fault] == 1
            if fault in MENDED:
                assert session.error is None, (direction, fault, at, session.error)
    # Both directions and the random ones make 2,000.
    assert sessions >= 400


def at_random(first: int, count: int, rates: tuple[float, ...]) -> Counter[str]:
    """Run seeded sessions at these probabilities of a fault per piece, in turn."""
    came_to: Counter[str] = Counter()
    for seed in range(first, first + count):
        session = Session(random_plan(seed, rates[seed % len(rates)]), seed)
        in_time(session, seed)
        faulty = any(session.port.faults.values())
        came_to["error" if session.error else "mended" if faulty else "clean"] += 1
        assert session.error is None or faulty
    return came_to


@pytest.mark.parametrize("first", [0, 600])
def test_random_faults(first: int) -> None:
    came_to = at_random(first, 600, (0.01, 0.02, 0.05, 0.1))
    # Both ends are met: faults that cost nothing but time, and faults that end a session.
    assert came_to["mended"] > 50, came_to
    assert came_to["error"] > 10, came_to


@pytest.mark.long
def test_random_faults_at_length() -> None:
    came_to = at_random(10_000, 10_000, (0.01, 0.03, 0.1, 0.3))
    assert came_to["mended"] > 2000, came_to


def test_a_board_that_is_reset_is_noticed_at_every_frame() -> None:
    """A reset ends the session in one error, or fell before it began; the next one works."""
    class Reset(Nth):
        def __call__(self, direction: str) -> str | None:
            super().__call__(direction)
            if direction == "write" and self.seen == self.at:
                simulation().reset()
            return None

    ended = 0
    for at in range(1, boundaries()["write"] + 1):
        session = Session(Reset("write", at, None), at)
        if session.error is not None:
            ended += 1
            assert "it was reset, or somebody else has opened it" in str(session.error)
        assert Session(lambda direction: None, at).error is None
    assert ended >= boundaries()["write"] - 4
