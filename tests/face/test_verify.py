"""`pbitstream verify` finds the first bit that differs, and only what differs."""

import json
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from pbitstream.cli import verification, verify
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices import registry
from pbitstream.devices.comparison import compare
from pbitstream.devices.protocol import CLIP_NAMES, Readout, State
from pbitstream.emulator.device import Emulator
from pbitstream.errors import MissingExtraError, SpecError
from pbitstream.model import shipped_names

#: Of the programs that are drawn here; enough for both kinds of module and of bank to be there.
FEW = ("--random", "2", "--updates", "600")


def small_program():
    """Return x (3, Langevin), p (4, p-bits) and y (2, Langevin), in the phases (x, y), (p).

    It is slow, so that what goes wrong in a step can be seen for some hundred more.
    """
    rng = np.random.default_rng(3)
    builder = ProgramBuilder(dt_shift=8)
    x = builder.langevin("x", 3, k2=1.0, temperature=0.1)
    p, y = builder.pbit("p", 4, beta=1.0), builder.langevin("y", 2, k2=1.0, temperature=0.1)
    builder.low_rank(x, p, rng.normal(size=(3, 1)), rng.normal(size=(4, 1)), [0.2])
    builder.band(p, y, {0: [0.2, 0.1]})
    return builder.build()


class Wrong(Emulator):
    """An emulator that flips a bit of what it holds after `step` steps and goes on from there."""

    #: Step, what (state, noise, sums, squares or clips), chain, and place in it.
    fault = (7, "state", 0, 0)

    def relax(self, h, *, steps, burn_in=0, **others):
        step, what, chain, place = self.fault
        if step > burn_in + steps or chain >= len(h) * others.get("chains", 1):
            return super().relax(h, steps=steps, burn_in=burn_in, **others)
        before = max(0, step - burn_in)
        first = super().relax(h, steps=max(1, before), burn_in=min(step, burn_in) - (not before),
                              **others)
        state = State(first.state.units.copy(), first.state.noise.copy())
        part = {"state": state.units, "noise": state.noise, "sums": first.sums,
                "squares": first.square_sums, "clips": first.clips}[what]
        part = part.reshape(len(state.units), -1)
        langevin = what == "state" and self.program.topology.modules[0].dim > place
        part[chain, place] ^= np.array(256 if langevin else 1, part.dtype)
        left = burn_in + steps - step
        rest = None
        if left:
            rest = super().relax(h, **{**others, "state": state, "steps": max(1, min(left, steps)),
                                       "burn_in": max(0, left - steps)})
        window = [part for part, used in ((first, before), (rest, left)) if used]
        squares = [each.square_sums for each in window]
        return Readout(
            sums=sum(each.sums for each in window),
            square_sums=None if squares[0] is None else sum(squares),
            state=state if rest is None else rest.state,
            clips=first.clips + (0 if rest is None else rest.clips),
            steps=steps, burn_in=burn_in, rounding=first.rounding, temperature=first.temperature,
            unit=first.unit, held=first.held,
        )

    def info(self):
        return {"device": "wrong", "kind": "a device with a fault"}


class Picky(Emulator):
    """A device that holds few units, of which some can be told apart from the emulator."""

    def load(self, program, *, force=False):
        if program.topology.units > 60:
            raise SpecError(f"units must be at most 60, not {program.topology.units}")
        super().load(program, force=force)

    def info(self):
        return {"device": "picky"}


def open_wrong(rest, options):
    return Wrong(engine="numpy")


def open_picky(rest, options):
    return Picky(engine="numpy")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    found = registry.device_schemes()
    here = {"wrong": open_wrong, "picky": open_picky}

    class Point(EntryPoint):
        def load(self):
            return here[self.name]

    points = [Point(name, "tests:open", registry.GROUP) for name in here]
    monkeypatch.setattr(registry, "entry_points", lambda group: [*found.values(), *points])


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "work" / "small.safetensors"
    small_program().save(path)
    return path.name


CALL = {"h": np.linspace(-0.5, 0.5, 18).reshape(2, 9), "steps": 40, "burn_in": 20, "seed": 5,
        "chains": 2, "moments": True}


@pytest.mark.parametrize("step", [1, 7, 20, 21, 60])
@pytest.mark.parametrize(("what", "chain", "number", "place"), [
    ("state", 0, 0, "x.0"), ("state", 3, 2, "x.2"), ("state", 1, 6, "p.3"),
    ("noise", 1, 77, "stream 77"), ("clips", 2, 3, "state"),
])
def test_the_first_difference_is_found(step, what, chain, number, place):
    program = small_program()
    device = Wrong(engine="numpy")
    device.fault = (step, what, chain, number)
    with device, Emulator(engine="numpy") as reference:
        device.load(program)
        reference.load(program)
        # The fault is in one chain of the call; alone, that chain is number 0.
        alone = {**CALL, "h": CALL["h"][chain // 2 : chain // 2 + 1], "chains": 1,
                 "first_chain": chain}
        device.fault = (step, what, 0, number)
        readout, found = compare(device, reference, program, alone)
    assert found is not None
    assert (found.quantity, found.input, found.chain, found.place, found.step) == (
        what, 0, 0, place, step)
    assert found.got == found.expected ^ (256 if place.startswith("x") else 1)
    assert readout.sums.shape == (1, 1, 9)
    assert f"{what} of {place}, input 0, chain 0: " in str(found)
    assert f"; first after step {step}" in str(found)


@pytest.mark.parametrize("chain", [0, 1, 2, 3])
def test_a_chain_of_many(chain):
    program, device = small_program(), Wrong(engine="numpy")
    with device, Emulator(engine="numpy") as reference:
        for each in (device, reference):
            each.load(program)
        device.fault = (9, "state", chain, 1)
        # The device goes wrong in a chain by its place in the call: only the whole call shows it.
        _, found = compare(device, reference, program, CALL)
        assert (found.step, found.place) == (9, "x.1")
        assert (found.input, found.chain) == (chain // 2, chain % 2)


def test_a_window_that_is_wrong():
    program, device = small_program(), Wrong(engine="numpy")
    for what in ("sums", "squares"):
        device.fault = (33, what, 0, 4)
        with Emulator(engine="numpy") as reference:
            for each in (device, reference):
                each.load(program)
            _, found = compare(device, reference, program, CALL)
        assert (found.quantity, found.place, found.step) == (what, "p.1", 33)


def test_what_does_not_happen_again():
    program, device = small_program(), Wrong(engine="numpy")
    seen = []
    with Emulator(engine="numpy") as reference:
        for each in (device, reference):
            each.load(program)

        def searching(done, total):
            seen.append((done, total))
            device.fault = (10**9, "state", 0, 0)

        _, found = compare(device, reference, program, CALL, searching=searching)
        assert found.step == 0
        assert "run again, the call agrees" in str(found)
        assert seen[0] == (1, 60)
        assert compare(device, reference, program, CALL)[1] is None


def test_random_programs_on_the_emulator(run):
    done = run("verify", *FEW, "--seed", "3")
    assert (done.code, done.err) == (0, "")
    assert "against emulator, engine oracle; seed 3" in done.out
    assert "identical in every bit: 2 programs" in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_document(run):
    done = run("verify", *FEW, "--json", "-d", "emulator:?engine=numpy")
    assert (done.code, done.err) == (0, "")
    data = json.loads(done.out)
    assert set(data) == {"device", "device_info", "reference", "seed", "identical", "updates",
                         "saturated", "programs", "drawn_again", "refusal", "skipped"}
    assert data["identical"] is True
    assert data["updates"] >= 600
    assert tuple(data["saturated"]) == CLIP_NAMES
    for number, program in enumerate(data["programs"]):
        assert program["name"] == f"random {number}"
        assert 2 <= program["modules"] <= 6
        assert program["calls"] == verification.CALLS
        assert program["difference"] is None
    again = json.loads(run("verify", *FEW, "--json").out)
    assert [p["digest"] for p in again["programs"]] == [p["digest"] for p in data["programs"]]
    assert again["saturated"] == data["saturated"]


def test_programs_that_test_little_are_drawn_again():
    rng = np.random.default_rng(0)
    reasons = {verification.too_plain(verification.random_program(rng, board=True))
               for _ in range(60)}
    assert reasons >= {None, "one kind of module", "one kind of bank", "no cycle of modules"}


def test_programs_that_do_not_fit_are_drawn_again(run):
    done = run("verify", "-d", "picky:", *FEW, "--json")
    assert done.code == 0
    data = json.loads(done.out)
    assert data["drawn_again"]["does not fit the device"] > 0
    assert data["refusal"].startswith("units must be at most 60, not ")
    assert all(program["units"] <= 60 for program in data["programs"])
    shown = run("verify", "-d", "picky:", *FEW).out
    assert "drawn again: " in shown
    assert "the first that did not fit: units must be at most 60" in shown


def test_a_device_that_holds_nothing(refused, monkeypatch):
    monkeypatch.setattr(verification, "PATIENCE", 30)

    def load(self, program, *, force=False):
        raise SpecError("nothing fits")

    monkeypatch.setattr(Picky, "load", load)
    refused(2, "30 random programs in a row did not fit the device; the first: nothing fits",
            "verify", "-d", "picky:", *FEW)
    refused(2, "none of the shipped programs fits the device: digits-k16.program: nothing fits; "
               "ring-5: nothing fits", "verify", "-d", "picky:")


def test_shipped_programs(run):
    done = run("verify", "-d", "picky:", "--updates", "1000")
    assert (done.code, done.err) == (0, "")
    assert "left out: digits-k16.program (units must be at most 60" in done.out
    assert "ring-5" in done.out
    assert "identical in every bit: 1 program, " in done.out


def test_a_fault_is_reported(run, program):
    done = run("verify", program, "-d", "wrong:", "--updates", "3000")
    assert (done.code, done.err) == (1, "")
    assert "differs in call 1 of small.safetensors" in done.out
    assert "state of x.0, input 0, chain 0: " in done.out
    assert "first after step 7" in " ".join(done.out.split())
    done = run("verify", program, "-d", "wrong:", "--updates", "3000", "--json")
    assert done.code == 1
    data = json.loads(done.out)
    difference = data["programs"][0]["difference"]
    assert data["identical"] is False
    assert (difference["place"], difference["step"]) == ("x.0", 7)


def test_an_emulator_is_not_compared_with_itself(refused, run, program):
    refused(2, "--reference numpy would compare the emulator with itself; choose another engine",
            "verify", program, "-d", "emulator:?engine=numpy", "--reference", "numpy")
    refused(2, "--reference oracle would compare the emulator with itself; choose another engine",
            "verify", program, "-d", "emulator:?engine=oracle", "--reference", "oracle")
    for engine, reference in (("numpy", "oracle"), ("oracle", "num")):
        done = run("verify", program, "-d", f"emulator:?engine={engine}", "--updates", "500")
        assert done.code == 0
        assert f"against emulator, engine {reference}" in done.out


def test_refusals(refused, run):
    refused(2, "--random draws the programs; leave out PROGRAM", "verify", "ring-5", *FEW)
    for option in (("--image", "tiny"), ("--waves", "x.vcd")):
        refused(2, f"{option[0]} belongs to --bench", "verify", *option)
    refused(2, "--bench draws its own programs; leave out PROGRAM", "verify", "ring-5", "--bench",
            "relax")
    refused(2, "--reference does not belong to --bench", "verify", "--bench", "relax",
            "--reference", "numpy")
    refused(2, "--bench runs on a simulation of its own; leave out --device", "verify", "--bench",
            "relax", "-d", "emulator:")
    refused(2, "--waves must end in .vcd, not 'x.fst'", "verify", "--bench", "relax", "--waves",
            "x.fst")
    refused(5, f"nothing: no such file; shipped are {', '.join(shipped_names())}", "verify",
            "nothing")
    done = run("verify", "--help")
    assert done.code == 0
    assert "pbitstream verify --bench relax --waves relax.vcd" in done.out


class FakeBench:
    text = "a bench"

    def run(self, **options):
        self.options = options
        return {"bench": "fake", "image": options["image"], "seed": options["seed"],
                "passed": False, "remarks": ["3 things"], "coverage": {
                    "share": 0.5, "bins": {"seen": {"text": "one", "count": 2},
                                           "not": {"text": "two", "count": 0}}},
                "tests": [{"name": "good", "passed": True, "seconds": 1.0, "message": ""},
                          {"name": "bad", "passed": False, "seconds": 2.0, "message": "it broke"}]}


def test_a_bench(run, refused, monkeypatch, tmp_path):
    bench = FakeBench()

    class Point(EntryPoint):
        def load(self):
            if self.name == "broken":
                raise ImportError("no", name="cocotb")
            if self.name == "extra":
                raise MissingExtraError("get the extra")
            return bench

    points = [Point(name, "tests:bench", verify.BENCHES) for name in ("fake", "broken", "extra")]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: points)
    # Commands and devices are found by names bound before.
    done = run("verify", "--bench", "fake", "--seed", "4", "--waves", "w.vcd", "--random", "3")
    assert (done.code, done.err) == (1, "")
    assert {**bench.options, "note": None} == {
        "image": "tiny", "seed": 4, "waves": tmp_path / "work" / "w.vcd", "programs": 3,
        "updates": None, "note": None}
    for text in ("bench fake on image tiny; seed 4", "good", "bad: it broke", "3 things",
                 "covered: 1 of 2 bins of the schedule space (50 %)", "not covered: not (two)",
                 "failed"):
        assert text in done.out
    assert json.loads(run("verify", "--bench", "fake", "--json").out)["passed"] is False
    refused(2, "--bench must be one of broken, extra, fake, not 'fakes', did you mean fake?",
            "verify", "--bench", "fakes")
    refused(3, "--bench needs cocotb, which is missing; pip install 'pbitstream[sim]'",
            "verify", "--bench", "broken")
    refused(3, "get the extra", "verify", "--bench", "extra")
    points.clear()
    refused(3, "--bench needs the gateware's simulation, which is not installed; "
               "pip install 'pbitstream[sim]'", "verify", "--bench", "relax")
