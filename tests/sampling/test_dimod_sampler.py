import numpy as np
import pytest

from pbitstream.errors import SpecError

dimod = pytest.importorskip("dimod")
dimod_testing = pytest.importorskip("dimod.testing")

from pbitstream.sampling.dimod_sampler import PbitSampler  # noqa: E402


def model(vartype: str, seed: int = 3, n: int = 12):
    return dimod.generators.gnp_random_bqm(n, 0.5, vartype, random_state=seed,
                                           bias_generator=lambda k: np.random.default_rng(
                                               seed).integers(-3, 4, k).astype(float))


def test_it_is_a_sampler_of_dimod():
    dimod_testing.assert_sampler_api(PbitSampler())


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
def test_energies_and_ground_state(vartype):
    bqm = model(vartype)
    found = PbitSampler().sample(bqm, num_reads=20, num_sweeps=300, seed=1)
    dimod_testing.assert_sampleset_energies(found, bqm)
    assert found.vartype is bqm.vartype
    exact = dimod.ExactSolver().sample(bqm)
    assert found.first.energy == pytest.approx(exact.first.energy)


def test_seed_fixes_the_samples():
    bqm = model("SPIN")
    one, two = (PbitSampler().sample(bqm, num_reads=5, num_sweeps=20, seed=9) for _ in range(2))
    np.testing.assert_array_equal(one.record.sample, two.record.sample)
    assert one.info["seed"] == 9
    other = PbitSampler().sample(bqm, num_reads=5, num_sweeps=20)
    assert other.info["seed"] != PbitSampler().sample(bqm, num_sweeps=20).info["seed"]


def test_faces_of_dimod():
    sampler = PbitSampler()
    assert sampler.sample_ising({"a": 1.0}, {("a", "b"): -1.0}, num_sweeps=50,
                                seed=0).first.sample == {"a": -1, "b": -1}
    qubo = sampler.sample_qubo({("x", "x"): -1, ("x", "y"): 2}, num_sweeps=50, seed=0)
    assert qubo.first.sample == {"x": 1, "y": 0}
    empty = sampler.sample(dimod.BinaryQuadraticModel("SPIN"), num_reads=3)
    assert (len(empty), len(empty.variables)) == (3, 0)


def test_initial_states_at_once_cold_stay():
    bqm = dimod.BinaryQuadraticModel.from_ising({}, {(i, i + 1): -1.0 for i in range(9)})
    up = {i: 1 for i in range(10)}
    found = PbitSampler().sample(bqm, initial_states=up, initial_states_generator="tile",
                                 num_reads=3, num_sweeps=2, beta_range=(8, 8), seed=5)
    assert (found.record.sample == 1).all()
    with pytest.raises(ValueError, match="initial states"):
        PbitSampler().sample(bqm, initial_states=up, initial_states_generator="none", num_reads=3)


def test_custom_schedule_and_refusals():
    bqm = model("SPIN")
    sampler = PbitSampler()
    found = sampler.sample(bqm, beta_schedule_type="custom", beta_schedule=[0.1, 1.0, 3.0],
                           num_sweeps=30, seed=2)
    assert found.info["beta_range"] == (0.1, 3.0)
    for arguments, message in (
        ({"beta_schedule_type": "cubic"}, "beta_schedule_type must be one of geometric, linear"),
        ({"beta_schedule_type": "custom"}, "beta_schedule must be given if and only if"),
        ({"beta_schedule": [1.0]}, "beta_schedule must be given if and only if"),
        ({"num_sweeps": 0}, "num_sweeps must be at least 1, not 0"),
        ({"beta_range": (2.0, 1.0)}, "beta must rise from hot to cold"),
    ):
        with pytest.raises(SpecError, match=message):
            sampler.sample(bqm, **arguments)
