"""The rows of the comparison: task, candidates, plan of the check, and what must be reached."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pbitstream.peers import problems
from pbitstream.peers.contestant import OURS, Candidates
from pbitstream.peers.dwave_chains import DwaveChains
from pbitstream.peers.equality import Plan
from pbitstream.peers.ferrotherm_chain import FerrothermChain
from pbitstream.peers.jax_chains import FORMS, jax_chains
from pbitstream.peers.ours import OurIsing, OurLangevin
from pbitstream.peers.thrml_chains import ThrmlChains

__all__ = ["ROWS", "Row", "Target"]

#: Chains of ours that are tried, and batches of THRML.
CHAINS = (64, 128, 512, 1024, 4096)
BATCHES = (8, 32, 128)
#: Reads of dwave-samplers run one after the other, so their number changes little.
READS = 16


@dataclass(frozen=True)
class Target:
    """A ratio to reach over the fastest of some systems, by wall or processor time.

    Attributes
    ----------
    clock
        ``wall``, or ``cpu`` for processor time of all threads.
    stretch
        A higher ratio that would be welcome, 0 if none.
    """

    over: tuple[str, ...]
    ratio: float
    clock: str = "wall"
    stretch: float = 0.0


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes
    ----------
    shape
        Rows of one shape cost a peer the same, so that its best option is looked for once.
    figure
        What the check compares.
    """

    name: str
    title: str
    shape: str
    task: Callable[[], Any]
    systems: tuple[Candidates, ...]
    targets: tuple[Target, ...]
    plan: Plan
    figure: str = "energy per spin"


def _ours(*chains: int) -> Candidates:
    return Candidates(OURS, chains, OurIsing)


def _sparse(name: str, title: str, shape: str, task: Callable[[], Any], wanted: float) -> Row:
    return Row(name, title, shape, task,
               (_ours(*CHAINS), Candidates("THRML", BATCHES, ThrmlChains),
                Candidates("dwave-samplers", (READS,), DwaveChains, "reads")),
               (Target(("THRML",), wanted), Target(("dwave-samplers",), 10.0, "cpu")),
               Plan(200, 4, 512))


def _signs(name: str, title: str, shape: str, task: Callable[[], Any]) -> Row:
    return Row(name, title, shape, task,
               (_ours(*CHAINS[2:]), Candidates("THRML", BATCHES, ThrmlChains)),
               (Target(("THRML",), 150.0),), Plan(300, 20, 512))


def _dense(left: int, right: int, wanted: float) -> Row:
    return Row(f"dense-{left}", f"dense {left} x {right}, weights to ±127", f"dense-{left}",
               lambda: problems.bipartite_task(left, right),
               (_ours(*CHAINS), Candidates("THRML", BATCHES, ThrmlChains)),
               (Target(("THRML",), wanted),), Plan(40, 4, 256))


def _one(row: Row, wanted: float) -> Row:
    return replace(row, name=f"one-{row.name}", title=f"one chain, {row.title}",
                   systems=(_ours(1),
                            Candidates("ferrotherm", (1, 0), FerrothermChain, "threads"),
                            Candidates("dwave-samplers", (1,), DwaveChains, "reads")),
                   targets=(Target(("ferrotherm", "dwave-samplers"), wanted),),
                   plan=Plan(100, 4, 128 if row.name == "dense-784" else 512))


def _langevin(name: str, title: str, chains: int, wanted: float, stretch: float = 0.0) -> Row:
    return Row(name, title, "langevin", problems.langevin_task,
               (Candidates(OURS, (chains,), OurLangevin),
                Candidates("JAX loop", FORMS, jax_chains(chains), "")),
               (Target(("JAX loop",), wanted, stretch=stretch),),
               Plan(200, 20, 2048 if chains > 1 else 1024), "mean square of x")


_GRID = _sparse("grid", "64 x 64 grid, weights to ±7", "grid", problems.grid_task, 15.0)
_TORUS = _sparse("torus", "70 x 70 torus of degree 12, weights to ±7", "torus",
                 problems.torus_task, 12.0)
_DENSE = (_dense(128, 128, 28.0), _dense(784, 512, 45.0))

ROWS: tuple[Row, ...] = (
    _GRID,
    _TORUS,
    _signs("grid-signs", "64 x 64 grid, weights ±1", "grid",
           lambda: problems.signs_task(64, 4)),
    _signs("torus-signs", "70 x 70 torus of degree 12, weights ±1", "torus",
           lambda: problems.signs_task(70, 12)),
    *_DENSE,
    _one(_GRID, 3.0),
    _one(_TORUS, 3.0),
    *(_one(row, 8.0) for row in _DENSE),
    _langevin("langevin", "Langevin 6 x 128, 8 banks of rank 16", 64, 3.0),
    _langevin("one-langevin", "one chain, Langevin 6 x 128, 8 banks of rank 16", 1, 2.0, 2.5),
)
