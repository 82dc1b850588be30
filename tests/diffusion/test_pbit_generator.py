"""P-bit generators: their law against enumeration, their input, seeds, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from board_model import ModelTransport
from pbitstream.coupling import coupling_matrix
from pbitstream.devices.board import Board
from pbitstream.devices.protocol import CLIP_NAMES
from pbitstream.diffusion.generators.pbit import PbitGenerator
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.model import Model
from pbitstream.program import Program
from pbitstream.spec.image import Image
from pbitstream.spec.words import BIAS
from physics_reference import assert_within, ising_law, spin_states, state_numbers

Values = NDArray[np.float64]
LIVE, HIDDEN, CODES = 4, 3, 10  # pixels that are coupled to anything; the rest are coins


def tiny(
    *, times: int = 1, code: str = "labels", levels: int = 2, band: bool = True, seed: int = 7
) -> Model:
    """Return a model whose first pixels and hidden spins are coupled strongly enough to matter."""
    draw = np.random.default_rng(seed)
    visible = 64 * (levels - 1)
    live = np.flatnonzero(np.arange(visible) % 64 < LIVE)
    codes = 1 if code == "none" else CODES

    def normal(*shape: int, spread: float = 0.5) -> Values:
        return spread * draw.standard_normal(shape)

    tensors: dict[str, NDArray[np.generic]] = {
        "code.frequency": np.full(codes, 1 / codes),
        "levels": np.linspace(-1, 1, levels),
    }
    for time in range(1, times + 1):
        factor, table = np.zeros((visible, 2)), np.zeros((codes, visible))
        factor[live] = normal(len(live), 2, spread=0.6)
        table[:, live] = normal(codes, len(live))
        tensors |= {f"t{time}.visible.bias": table, f"t{time}.hidden.bias": normal(codes, HIDDEN),
                    f"t{time}.bank.a": factor, f"t{time}.bank.b": normal(HIDDEN, 2, spread=0.6)}
        if band:
            tensors |= {f"t{time}.band.offsets": np.array([0, 1], np.int16),
                        f"t{time}.band.weights": normal(2, HIDDEN, spread=0.4)}
        if time < times:
            diagonal, clamped = np.zeros(visible), np.zeros((visible, 2))
            diagonal[live] = normal(len(live))
            clamped[live] = normal(len(live), 2, spread=0.4)
            tensors |= {f"t{time}.clamped.diagonal": diagonal, f"t{time}.clamped.a": clamped,
                        f"t{time}.clamped.b": normal(HIDDEN, 2)}
    return Model(tensors, {"generator": "pbit", "judge": "binary" if levels == 2 else "grey",
                           "code": code, "burn_in": "60", "steps": "1"})


def pixel_law(program: Program, h: Values, clamp: Values | None) -> Values:
    """Return the law of the live pixels, hidden spins summed over, from the integer tables."""
    topology = program.topology
    j = coupling_matrix(topology, program.tables)
    field = h.copy()
    if clamp is not None:
        held = topology.units_of(topology.index("condition"))
        field += j[:, held] @ clamp
    hidden = np.arange(HIDDEN)
    live = np.concatenate([np.arange(topology.units)[topology.units_of(n)][:LIVE]
                           for n, m in enumerate(topology.modules) if m.name.startswith("pixels")])
    units = np.concatenate([hidden, live])
    law = ising_law(j[np.ix_(units, units)], field[units], 1.0)
    return law.reshape(-1, 1 << HIDDEN).sum(axis=1)


def bias_of(generator: PbitGenerator, program: Program, label: int) -> Values:
    """Return the biases of one code, computed from the model's float tables."""
    net = program.conditioning
    assert net is not None
    raw = net.codes(generator.inputs(np.array([label])))
    return net.biases(raw, program.topology)[0][0] * BIAS.value(1)


@pytest.mark.parametrize("levels", [2, 3])
def test_images_follow_the_enumerated_law(levels: int) -> None:
    seed, count, label = 11, 20_000, 3
    generator = PbitGenerator(tiny(levels=levels, band=levels == 2), batch=7000)
    with Emulator() as device:
        drawn = generator.draw(device, count, seed=seed, labels=np.full(count, label))
    program = generator.programs[0]
    law = pixel_law(program, bias_of(generator, program, label), None)
    spins = spin_states(LIVE * (levels - 1))
    value = (spins > 0).reshape(len(spins), levels - 1, LIVE).sum(axis=1)
    number = value @ levels ** np.arange(LIVE)
    wanted = np.bincount(number, law, minlength=levels**LIVE)
    seen = np.round((drawn.images[:, :LIVE] + 1) * (levels - 1) / 2).astype(int)
    share = np.bincount(seen @ levels ** np.arange(LIVE), minlength=len(wanted)) / count
    # Beside the scatter, the threshold table's steps of 1/128 in the field.
    error = np.sqrt(wanted * (1 - wanted) / count)
    assert_within(share, wanted, error, seed=seed, what="share of image ", bias=wanted / 128)
    assert not sum(drawn.clips.values())
    coins = drawn.images[:, LIVE:64].mean(axis=0)
    assert_within(coins, 0.0, 1 / np.sqrt(count), seed=seed, what="mean of a free pixel ")


def test_a_chain_composes_the_laws_of_its_steps() -> None:
    seed, count = 12, 20_000
    generator = PbitGenerator(tiny(times=3, code="none"))
    with Emulator() as device:
        drawn = generator.draw(device, count, seed=seed)
    law = np.ones(1)
    for number, program in enumerate(generator.programs):
        h = bias_of(generator, program, 0)
        if number == 0:
            law = pixel_law(program, h, None)
            continue
        rows = []
        for c in spin_states(LIVE):
            clamp = np.zeros(64)
            clamp[:LIVE] = c
            rows.append(pixel_law(program, h, clamp))
        law = law @ np.array(rows)
    spins = drawn.images[:, :LIVE] > 0
    share = np.bincount(state_numbers(spins), minlength=len(law)) / count
    error = np.sqrt(law * (1 - law) / count)
    assert_within(share, law, error, seed=seed, what="share of image ", bias=law * 3 / 128)
    assert [frame.caption for frame in drawn.frames] == ["noise", "after 1 of 3", "after 2 of 3",
                                                         "image"]
    assert (drawn.frames[-1].images == drawn.images).all()


@pytest.mark.parametrize("guidance", [0.0, 0.15, 0.6])
def test_guidance_is_the_formula(guidance: float) -> None:
    model = tiny()
    generator = PbitGenerator(model, guidance=guidance)
    inputs = generator.inputs(np.array([4]))
    assert inputs.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(
        inputs[0], (1 + guidance) * np.eye(10)[4] - guidance / 10 * np.ones(10))
    program = generator.programs[0]
    got = bias_of(generator, program, 4)
    for part, table in (("hidden", model["t1.hidden.bias"]), ("pixels", model["t1.visible.bias"])):
        mean = table.mean(axis=0)
        wanted = mean + (1 + guidance) * (table[4] - mean)
        units = program.topology.units_of(program.topology.index(part))
        # Codes of ten inputs and their weights, to 2^-13 each, and of the sum.
        np.testing.assert_allclose(got[units], wanted, atol=2.0**-13 * (1 + np.abs(table).sum()))


def test_nothing_depends_on_the_batch_the_engine_or_the_count() -> None:
    model = replace(tiny(times=2), provenance={**tiny().provenance, "burn_in": "3", "steps": "2"})
    runs = []
    for engine, batch in (("numpy", 512), ("numpy", 5), ("oracle", 1)):
        with Emulator(engine=engine) as device:
            runs.append(PbitGenerator(model, batch=batch).draw(device, 12, seed=9))
    with Emulator(engine="numpy") as device:
        fewer = PbitGenerator(model).draw(device, 5, seed=9)
        asked = PbitGenerator(model).draw(device, 12, seed=9, labels=runs[0].labels)
        other = PbitGenerator(model).draw(device, 12, seed=10)
    for run in (*runs[1:], asked):
        for mine, theirs in zip(runs[0].frames, run.frames):
            np.testing.assert_array_equal(mine.images, theirs.images)
        np.testing.assert_array_equal(runs[0].labels, run.labels)
    np.testing.assert_array_equal(fewer.images, runs[0].images[:5])
    assert (other.images != runs[0].images).any()
    assert (other.labels != runs[0].labels).any()


def test_a_board_draws_the_same_images() -> None:
    image = Image(lanes=64, max_units=1024, max_rank_words=1024, max_modules=8,
                  max_instructions=128, max_gains=256)
    generator = PbitGenerator(tiny(times=2), burn_in=1, steps=2)
    with Board(ModelTransport(image)) as board, Emulator() as emulator:
        drawn, wanted = (generator.draw(device, 3, seed=4) for device in (board, emulator))
    for mine, theirs in zip(drawn.frames, wanted.frames):
        np.testing.assert_array_equal(mine.images, theirs.images)
    assert drawn.clips == wanted.clips


def test_every_step_has_noise_of_its_own() -> None:
    """Two equal steps that hardly see each other draw different images."""
    model = tiny(times=2, code="none")
    with Emulator() as device:
        drawn = PbitGenerator(model).draw(device, 400, seed=1)
    free = [frame.images[:, LIVE:] for frame in drawn.frames]
    for a in range(3):
        for b in range(a):
            assert abs((free[a] * free[b]).mean()) < 5 / np.sqrt(free[0].size)


def test_codes_come_as_often_as_in_training() -> None:
    frequency = np.array([0.1, 0.0, 0.6, 0.3])
    model = tiny(code="k-means")
    tensors = {**model.tensors, "code.frequency": frequency}
    tensors |= {name: np.asarray(tensors[name])[:4] for name in tensors if "bias" in name}
    generator = PbitGenerator(Model(tensors, model.provenance))
    codes = generator._codes(5000, 3, None)
    share = np.bincount(codes, minlength=4) / 5000
    np.testing.assert_allclose(share, frequency, atol=5 * np.sqrt(0.25 / 5000))
    assert share[1] == 0
    with Emulator() as device:
        assert generator.draw(device, 3, seed=0).labels is None


def test_what_it_says_of_itself() -> None:
    generator = PbitGenerator(tiny(times=2, code="none"), burn_in=3, steps=2)
    with Emulator() as device:
        seen: list[tuple[str, int, int]] = []
        drawn = generator.draw(device, 6, seed=0, report=lambda *told: seen.append(told))
    assert drawn.updates == 6 * 2 * 5 * (64 + HIDDEN)
    assert set(drawn.clips) == {*CLIP_NAMES, "conditioning"}
    assert seen == [("drawing", 6, 12), ("drawing", 12, 12)]
    told = generator.to_dict()
    assert told["updates_per_image"] * 6 == drawn.updates
    assert (told["code"], told["guidance"], told["reverse_steps"]) == ("none", 0.0, 2)
    assert (generator.judge, generator.labelled) == ("binary", False)
    assert [p.topology.phases for p in generator.programs] == [((0,), (1,))] * 2
    assert set(np.unique(drawn.frames[0].images)) == {-1.0, 1.0}


def test_clips_of_the_conditioning_net_are_counted() -> None:
    model = tiny()
    tables = {n: 6 * np.asarray(a) if "bias" in n else a for n, a in model.tensors.items()}
    with Emulator() as device:
        drawn = PbitGenerator(Model(tables, model.provenance), guidance=4.0).draw(
            device, 20, seed=0)
    assert drawn.clips["conditioning"] > 0


def test_refusals() -> None:
    model = tiny()
    for bad in (-0.1, 6.5, np.nan):
        with pytest.raises(SpecError, match=f"^guidance must be between 0 and 6, not {bad:g}$"):
            PbitGenerator(model, guidance=bad)
    with pytest.raises(SpecError, match=r"^guidance must be 0 for a model without labels, not 1$"):
        PbitGenerator(tiny(code="none"), guidance=1.0)
    with pytest.raises(SpecError, match=r"^batch must be at least 1, not 0$"):
        PbitGenerator(model, batch=0)
    with pytest.raises(SpecError, match=r"^steps must be between 1 and"):
        PbitGenerator(model, steps=0)
    with pytest.raises(SpecError, match=r"^model must be a generator of p-bits, not another$"):
        PbitGenerator(Model({}))
    with pytest.raises(SpecError, match=r"^the model's provenance lacks code; train it again"):
        PbitGenerator(Model({}, {"generator": "pbit"}))
    with pytest.raises(SpecError, match=r"^the model has no tensor t1\.bank\.a$"):
        PbitGenerator(Model({}, model.provenance))
    generator = PbitGenerator(model)
    with Emulator() as device:
        for labels, rule in (
            ([1, 2], r"whole numbers of shape \(3,\), not int64 of shape \(2,\)"),
            ([0.0, 1.0, 2.0], r"whole numbers of shape \(3,\), not float64"),
            ([0, 1, 10], "0 to 9, not 0 to 10"),
            ([-1, 1, 2], "0 to 9, not -1 to 2"),
        ):
            with pytest.raises(SpecError, match=f"^labels must be {rule}"):
                generator.draw(device, 3, seed=0, labels=np.array(labels))
        with pytest.raises(SpecError, match=r"^labels must be None: this model was trained"):
            PbitGenerator(tiny(code="none")).draw(device, 1, seed=0, labels=np.array([1]))
        with pytest.raises(SpecError, match=r"^count must be between 1 and 2\^32, not 0$"):
            generator.draw(device, 0, seed=0)
        for bad in (-1, 2**32):
            with pytest.raises(SpecError, match=r"^seed must be between 0 and 2\^32 - 1, not"):
                generator.draw(device, 1, seed=bad)
