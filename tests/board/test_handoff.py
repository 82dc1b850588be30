"""What tells PYNQ's software of a Zynq design: the clock's dividers and the handoff file."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbitstream.errors import SpecError
from pbitstream.spec.handoff import BASE, INSTANCE, VLNV, clock_dividers, hwh
from pbitstream.spec.registers import BOARD_BYTES, REGISTERS
from pbitstream_gateware.presets import PRESETS


@given(st.integers(10_000_000, 1_000_000_000))
def test_dividers_make_the_clock_or_a_little_less(clock: int) -> None:
    try:
        first, second = clock_dividers(clock)
    except SpecError as error:
        near = re.search(r"such as ([\d.]+) MHz", str(error))
        assert near is not None
        below = round(float(near[1]) * 1e6)
        if below >= 10_000_000:
            assert below <= clock
            clock_dividers(below)
        return
    assert 1 <= second <= first < 64
    assert 1 - 1e-4 < 1e9 / (first * second * clock) <= 1


@pytest.mark.parametrize(("clock", "product"), [
    (100_000_000, 10), (125_000_000, 8), (50_000_000, 20), (83_334_000, 12), (10**9, 1)])
def test_clocks_that_people_ask_for(clock: int, product: int) -> None:
    first, second = clock_dividers(clock)
    assert first * second == product


@pytest.mark.parametrize(("clock", "message"), [
    (99_000_000, "that dividers make of 1,000 MHz, such as 90.91 MHz, not 99 MHz"),
    (83_333_000, "such as 76.924 MHz, not 83.333 MHz"),
    (2_000_000_000, "between 10 and 1,000 MHz, not 2000 MHz"),
    (1, "between 10 and 1,000 MHz"),
])
def test_a_clock_that_no_dividers_make(clock: int, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        clock_dividers(clock)


def test_a_handoff_joins_processor_and_substrate() -> None:
    root = ElementTree.fromstring(hwh(PRESETS["pynq_z2"], 125_000_000))
    ps, substrate = root.iter("MODULE")
    assert (substrate.get("INSTANCE"), substrate.get("VLNV")) == (INSTANCE, VLNV)
    window = next(ps.iter("MEMRANGE"))
    assert int(window.get("BASEVALUE", ""), 16) == BASE
    assert int(window.get("HIGHVALUE", ""), 16) == BASE + BOARD_BYTES - 1
    ports = {bus.get("NAME"): bus.get("BUSNAME") for bus in root.iter("BUSINTERFACE")}
    assert window.get("SLAVEBUSINTERFACE") in ports
    assert ports[window.get("MASTERBUSINTERFACE")] == ports["S_AXI"]
    of = {entry.get("NAME"): entry.get("VALUE") for entry in ps.iter("PARAMETER")}
    assert all(f"PCW_FCLK{n}_PERIPHERAL_DIVISOR{d}" in of for n in range(4) for d in range(2))
    registers = {entry.get("NAME"): {p.get("NAME"): p.get("VALUE") for p in entry}
                 for entry in root.iter("REGISTER")}
    assert len(registers) == sum(register.words for register in REGISTERS)
    assert registers["magic"]["ACCESS"] == "read-only"
    assert int(registers["cycles_1"]["ADDRESS_OFFSET"] or "", 16) == 0x74
