"""Outcomes of the comparison with peers as plain data, for JSON, table and plot alike."""

import statistics
from typing import Any

from pbitstream.ising.problem import Problem
from pbitstream.peers.contestant import OURS
from pbitstream.peers.equality import Check
from pbitstream.peers.match import Outcome, Played
from pbitstream.peers.search import Found

__all__ = ["check_data", "first_data", "outcome_data", "search_data"]

#: Seconds to a first sample, cold and warm.
FIRST = {f"{OURS}, cold": 4.0, f"{OURS}, warm": 1.0}


def check_data(check: Check) -> dict[str, Any]:
    """Return a check of statistics."""
    return {
        "what": check.what,
        "system": check.system,
        "found": check.found.value,
        "standard_error": check.found.error,
        "wanted": check.wanted.value,
        "standard_error_of_wanted": check.wanted.error,
        "deviation": check.deviation,
        "holds": check.holds,
    }


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """Return a row: its systems, and its targets with what was reached."""
    return {
        "name": outcome.row.name,
        "title": outcome.row.title,
        "beta": outcome.beta,
        "systems": [_system(played) for played in outcome.systems],
        "targets": [{
            "over": reached.over or " or ".join(reached.target.over),
            "clock": reached.target.clock,
            "must_reach": reached.target.ratio,
            "stretch": reached.target.stretch or None,
            "reached": reached.ratio,
            "holds": reached.holds,
        } for reached in outcome.reached],
    }


def _system(played: Played) -> dict[str, Any]:
    data: dict[str, Any] = {"system": played.system, "absent": played.absent or None,
                            "option": None, "check": None, "rates": None}
    if played.absent:
        return data
    assert played.check is not None, "whoever runs is checked"
    data["option"] = f"{played.option} {played.unit}".strip()
    data["tried"] = {str(option): rate for option, rate in played.tried.items()}
    data["setup_seconds"], data["compile_seconds"] = played.setup, played.compilation
    data["check"] = check_data(played.check)
    if played.rates is not None:
        wall, cpu = played.rates.wall, played.rates.cpu
        data["rates"] = {"median": statistics.median(wall), "lowest": min(wall),
                         "highest": max(wall), "per_cpu_second": statistics.median(cpu)}
    return data


def first_data(seconds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return the first samples: median seconds, and what must be reached."""
    rows = []
    for name, times in seconds.items():
        median, wanted = statistics.median(times), FIRST.get(name)
        rows.append({"system": name, "seconds": median, "must_reach": wanted,
                     "holds": None if wanted is None else median < wanted})
    return rows


def search_data(runs: list[list[Found]], graph: Problem | None = None) -> list[dict[str, Any]]:
    """Return what every system found in all runs: how often, in how long; the cut of a graph."""
    rows = []
    for each in zip(*runs):
        row: dict[str, Any] = {
            "system": each[0].system,
            "reached": sum(found.excess == 0 for found in each),
            "seconds": sum(found.seconds for found in each),
            "median_seconds": statistics.median(found.seconds for found in each),
            "mean_excess": statistics.mean(found.excess or 0.0 for found in each),
            "most_sweeps": max(found.sweeps for found in each),
        }
        if graph is not None:
            row["cut"] = (graph.offset - each[0].energy - float(graph.weight.sum())) / 2
        rows.append(row)
    return rows
