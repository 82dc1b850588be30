"""Prices and totals: units, grades that fall on other devices, and refusals."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pbitstream.devices.board.traffic import Traffic
from pbitstream.energy.counters import Counts
from pbitstream.energy.ledger import Run, ledger_of
from pbitstream.energy.prices import TERMS, Price, read_prices, shipped_prices
from pbitstream.errors import FileFormatError
from pbitstream.evidence import GRADES, P_BIT_FLIP

URL = "serial:/dev/ttyUSB1"
BOARD = Run(URL, "digital gateware, bit-exact; not a physical substrate", Counts(
    relaxations=2, steps=10, langevin_updates=30, pbit_updates=50, multiplications=999, reads=7,
    writes=11, conditioning=13, cycles=100, multiplying=60, link=Traffic(17, 19, 2, 3)), 1.5)
EMULATOR = Run("emulator:", "software, bit-exact; not a physical substrate",
               Counts(steps=10, langevin_updates=30, reads=7, writes=11, conditioning=13), 1.5)


def price(value: float, unit: str, grade: str = "metered", device: str = URL) -> Price:
    return Price(value, unit, grade, "here", device)


def all_prices(**changes: Price) -> dict[str, Price]:
    """Return a price for every term, each with digits of its own."""
    return {
        "standby": price(2.0, "W"),
        "langevin_update": price(1e-3, "J/update"),
        "pbit_update": price(1e-5, "J/update"),
        "read": price(1e-4, "J/value"),
        "write": price(1e-6, "J/value"),
        "conditioning": price(1e-7, "J/multiplication"),
        "link": price(1e-8, "J/byte"),
        **changes,
    }


def test_a_whole_total() -> None:
    ledger = ledger_of(BOARD, all_prices())
    by_hand = 3.0 + 30e-3 + 50e-5 + 7e-4 + 11e-6 + 13e-7 + 36e-8
    assert ledger["total"]["value"] == pytest.approx(by_hand, rel=1e-12)
    assert (ledger["total"]["grade"], ledger["missing"], ledger["note"]) == ("metered", [], None)
    assert [line["name"] for line in ledger["terms"]] == [term.name for term in TERMS]
    assert ledger["counts"]["link"] == {"bytes_read": 17, "bytes_written": 19, "read_requests": 2,
                                        "write_requests": 3}


@pytest.mark.parametrize("grade", [g for g in GRADES if g != "counted"])
def test_the_total_has_the_worst_grade(grade: str) -> None:
    prices = all_prices(read=price(1.0, "J/value", grade))
    assert ledger_of(BOARD, prices)["total"]["grade"] == grade


@pytest.mark.parametrize(("grade", "elsewhere"), [
    ("metered", "assumed"), ("measured by its author", "assumed"), ("estimated", "assumed"),
    ("assumed", "assumed"), ("claimed", "claimed")])
def test_a_price_of_another_device_is_at_best_assumed(grade: str, elsewhere: str) -> None:
    assert price(1.0, "W", grade).grade_on(URL) == grade
    assert price(1.0, "W", grade).grade_on("serial:/dev/ttyUSB2") == elsewhere
    other = all_prices(read=price(1.0, "J/value", grade, "another board"))
    (line,) = (x for x in ledger_of(BOARD, other)["terms"] if x["name"] == "read")
    assert line["energy"]["grade"] == elsewhere
    assert line["price"]["source"] == f"here; of another board, so {elsewhere} here"


@pytest.mark.parametrize("name", [term.name for term in TERMS])
def test_one_missing_term_refuses_the_total(name: str) -> None:
    prices = all_prices()
    del prices[name]
    ledger = ledger_of(BOARD, prices)
    assert (ledger["total"]["value"], ledger["total"]["grade"]) == (None, None)
    assert ledger["total"]["source"] == f"refused, without {name}"
    (why,) = ledger["missing"]
    assert re.search(rf": no price; add \[{name}\] in .* to a file of prices$", why)


def test_what_there_is_none_of_needs_no_price() -> None:
    prices = all_prices(standby=price(1e-3, "J/step"), link=price(1e-8, "J/value"))
    del prices["pbit_update"]
    ledger = ledger_of(EMULATOR, prices)
    assert ledger["total"]["value"] == pytest.approx(
        10e-3 + 30e-3 + 7e-4 + 11e-6 + 13e-7 + 18e-8, rel=1e-12)
    assert ledger["total"]["grade"] == "assumed"
    assert ledger["note"] == "an emulator's counts; no joule of a chip"


def test_an_emulator_has_neither_seconds_of_a_chip_nor_a_link() -> None:
    ledger = ledger_of(EMULATOR, all_prices())
    assert ledger["total"]["value"] is None
    assert ledger["missing"] == [
        "standby: an emulator has no time of a chip; give its price in J/step",
        "link: an emulator has no link; give its price in J/value"]
    # Without prices it asks for those that it can use.
    assert ledger_of(EMULATOR, {})["missing"][0] == (
        "standby: no price; add [standby] in J/step to a file of prices")
    # Prices of this very computer meet its own seconds.
    own = all_prices(standby=price(30.0, "W", device="emulator:"), link=price(0.0, "J/value"))
    (line,) = (x for x in ledger_of(EMULATOR, own)["terms"] if x["name"] == "standby")
    assert (line["energy"]["value"], line["energy"]["grade"]) == (45.0, "metered")


def test_a_simulator_is_named() -> None:
    run = Run("verilator:", "simulated RTL, bit-exact; not a physical substrate", BOARD.counts, 1.0)
    assert ledger_of(run, {})["note"] == "a simulator's counts; no joule of a chip"


@pytest.mark.parametrize(("device", "kind", "who"), [
    (URL, "emulator: on every worker of a cluster", "a device of unknown kind"),
    (URL, "", "a device of unknown kind"),
    ("replay:run.rec", BOARD.kind, "a recording"),
])
def test_only_what_is_known_to_be_a_board_has_seconds_of_a_chip(
    device: str, kind: str, who: str
) -> None:
    ledger = ledger_of(replace(BOARD, device=device, kind=kind), all_prices(
        standby=price(2.0, "W", device="another board")))
    assert ledger["note"] == f"{who}'s counts; no joule of a chip"
    assert ledger["total"]["value"] is None
    assert ledger["missing"] == [
        f"standby: {who} has no time of a chip; give its price in J/step"]


def test_the_seconds_of_a_cluster_are_no_devices() -> None:
    for run in (BOARD, EMULATOR):
        prices = all_prices(standby=price(2.0, "W", device=run.device),
                            link=price(0.0, "J/value"))
        assert ledger_of(run, prices)["total"]["value"] is not None
        assert ledger_of(replace(run, shared=True), prices)["missing"] == [
            "standby: a cluster has no time of a chip; give its price in J/step"]


def test_the_shipped_anchors() -> None:
    prices = read_prices([shipped_prices()["kv260"]])
    assert prices["pbit_update"].value == P_BIT_FLIP
    assert (prices["read"].value, prices["write"].value) == (581e-12, 44e-9)
    for found in prices.values():
        assert found.grade == "measured by its author"
        assert found.grade_on(URL) == "assumed"


GOOD = '[read]\nvalue = 1\nunit = "µJ/value"\ngrade = "metered"\nsource = "x"\n'


@pytest.mark.parametrize(("text", "message"), [
    ("device = ", "not TOML: "),
    (GOOD, "device must say whose prices these are, as -d names it or in words, not None"),
    (f'device = "a"\n{GOOD.replace("[read]", "[reed]")}', "unknown term [reed]; terms are standby"),
    ('device = "a"\nread = 3', "[read] must have value, unit, grade, source and nothing else"),
    (f'device = "a"\n{GOOD}more = 1', "[read] must have value, unit, grade, source and nothing"),
    (f'device = "a"\n{GOOD.replace("= 1", "= nan")}', "[read] value must be a number of 0 or more"),
    (f'device = "a"\n{GOOD.replace("= 1", "= -1")}', "[read] value must be a number of 0 or more"),
    (f'device = "a"\n{GOOD.replace("= 1", "= true")}', "[read] value must be a number of 0 or "),
    (f'device = "a"\n{GOOD.replace("µJ/value", "W")}', "[read] unit must be J/value, with a pre"),
    (f'device = "a"\n{GOOD.replace("µJ", "MJ")}', "[read] unit must be J/value, with a prefix f"),
    (f'device = "a"\n{GOOD.replace("metered", "counted")}', "[read] grade must be one of metered"),
    (f'device = "a"\n{GOOD}'.replace('"x"', '""'), "[read] source must say where the value is"),
])
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FileFormatError, match=rf"^{re.escape(f'{path}: {message}')}"):
        read_prices([path])


def test_files_add_up_and_may_not_overlap(tmp_path: Path) -> None:
    path, other = tmp_path / "a.toml", tmp_path / "b.toml"
    path.write_text(f'device = "a"\n{GOOD}', encoding="utf-8")
    other.write_text(f'device = "b"\n{GOOD.replace("read", "write")}', encoding="utf-8")
    prices = read_prices([path, other])
    assert {name: p.device for name, p in prices.items()} == {"read": "a", "write": "b"}
    assert prices["read"].value == 1e-6
    with pytest.raises(FileFormatError, match=rf"\[read\] is in {re.escape(str(path))} too; leave"):
        read_prices([path, shipped_prices()["kv260"]])
