"""The worked example of numerics, section 10: the first test every device must pass."""

import numpy as np
import pytest

from pbitstream.devices.call import prepare
from pbitstream.devices.protocol import State
from pbitstream.emulator.device import Emulator
from pbitstream.emulator.noise import seed_streams
from pbitstream.emulator.oracle import Chain
from pbitstream.program import Program
from pbitstream.spec.fixed import rhu, sat
from pbitstream.spec.noise import fields, noise_gain, stream_state, xorshift64
from pbitstream.spec.sigmoid import sigmoid_table
from pbitstream.spec.topology import BandBank, LowRankBank, Module, Topology

BIAS_CODES = np.array([[2048, -1024]])


def example() -> Program:
    topology = Topology(
        (Module("L", "langevin", 1), Module("P", "pbit", 1)),
        (LowRankBank(0, 1, 1, a_fraction=9, b_fraction=9, gain_fraction=13, z_fraction=12,
                     z_back_fraction=12),
         BandBank(0, 1, (0,))),
        ((0,), (1,)),
        field_fraction=20,
        dt_shift=3,
    )
    tables = {
        "k2": np.array([1024, 0], np.uint16),
        "k4": np.array([1024, 0], np.uint16),
        "beta": np.array([0, 4096], np.uint16),
        "noise_gain": np.array([5676, 0], np.uint16),
        "noise_shift": np.array([12, 22], np.uint8),
        "x_max": np.array([8192, 0], np.uint16),
        "scale": np.ones(2),
        "offset": np.zeros(2),
        "bank0.a": np.array([[300]], np.int16),
        "bank0.b": np.array([[-200]], np.int16),
        "bank0.gain": np.array([8192], np.int16),
        "bank1.w": np.array([[64]], np.int16),
    }
    return Program(topology, tables)


def start() -> State:
    return State(np.array([[1_500_000, 1]], np.int32), seed_streams(1, 0, 1))


def first_chain() -> Chain:
    program = example()
    return Chain(program, prepare(program, BIAS_CODES / 4096, steps=1, seed=1, state=start()), 0)


def test_stream_and_shifts_and_noise_gain() -> None:
    assert stream_state(1, 0, 0) == 0xBFEF8030DDC2D772
    bank = example().topology.banks[0]
    assert isinstance(bank, LowRankBank)
    assert bank.shifts(20) == (9, 14, 9, 14)
    assert noise_gain(0.01, 3) == (5676, 12)


def test_phase_of_the_langevin_unit() -> None:
    chain = first_chain()
    assert chain.exposed(0) == [5859]
    assert rhu(-200 * 4096, 9) == -1600
    assert rhu(8192 * -1600, 14) == -800
    assert 300 * -800 == -240000
    assert 64 * 4096 == 262144
    assert 2048 << 8 == 524288
    assert chain.field(0) == [546432]
    x2 = rhu(5859 * 5859, 14)
    assert x2 == 2095
    kappa = 1024 + rhu(1024 * x2, 12)
    assert kappa == 1548
    drift = 546432 * 1024 - kappa * 1_500_000
    assert (drift, rhu(drift, 13)) == (-1_762_453_632, -215_143)
    word = xorshift64(chain.noise[0])
    assert word == 0xDE0964FA0A9ACE5C
    assert fields(word) == (52828, 2714, 25850, 56841)
    noise = sum(fields(word)) - 131070
    assert (noise, noise * 5676, rhu(noise * 5676, 12)) == (7163, 40_657_188, 9926)
    after = chain.langevin(0, chain.field(0))
    assert after == [1_500_000 - 215_143 + 9926] == [1_294_783]
    assert chain.noise[0] == word
    assert sat(rhu(after[0], 8), 16) == 5058


def test_phase_of_the_pbit() -> None:
    chain = first_chain()
    chain.x[0] = chain.langevin(0, chain.field(0))[0]
    assert chain.exposed(0) == [5058]
    assert rhu(300 * 5058, 9) == 2964
    assert (8192 * 2964, rhu(8192 * 2964, 14), -200 * 1482) == (24_281_088, 1482, -296_400)
    assert 64 * 5058 == 323_712
    f = chain.field(1)
    assert f == [-234_832]
    y = rhu(f[0], 10)
    assert (y, 4096 * y, rhu(4096 * -y, 15)) == (-229, -937_984, 29)
    assert (sigmoid_table()[29], 65536 - sigmoid_table()[29]) == (40067, 25469)
    # Unit 0 of the module draws from stream 0, which the Langevin unit has used.
    assert xorshift64(chain.noise[0]) == 0xE0B70A0DD877ECC0
    assert fields(0xE0B70A0DD877ECC0)[0] == 60608
    assert chain.pbit(1, f) == [-1]
    assert chain.noise[0] == 0xE0B70A0DD877ECC0


@pytest.mark.parametrize("engine", ["oracle", "numpy", "numba"])
def test_window(engine: str) -> None:
    if engine == "numba":
        pytest.importorskip("numba")
        pytest.importorskip("pbitstream.emulator.compiled")
    with Emulator(engine=engine) as device:
        device.load(example())
        readout = device.relax(BIAS_CODES / 4096, steps=1, seed=1, state=start(), moments=True)
    assert readout.sums.tolist() == [[[5058, -1]]]
    assert readout.square_sums is not None
    assert readout.square_sums[0, 0, 0] == 25_583_364
    assert readout.state.units.tolist() == [[1_294_783, 0]]
    assert readout.state.noise[0, 0] == 0xE0B70A0DD877ECC0
    np.testing.assert_array_equal(readout.state.noise[0, 1:], seed_streams(1, 0, 1)[0, 1:])
    assert readout.mean.tolist() == [[5058 / 4096, -1.0]]
    assert readout.square is not None
    assert readout.square.tolist() == [[25_583_364 / 4096**2, 1.0]]
    assert sum(readout.saturated.values()) == 0
    assert readout.rounding == 0.0
    assert readout.temperature[0] == pytest.approx(0.01, rel=1 / 5676)
