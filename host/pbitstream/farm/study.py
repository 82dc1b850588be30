"""The cells of a study on a cluster: each, a point with a seed, is a task."""

from collections.abc import Iterator, Sequence

from pbitstream.farm.cluster import Cluster
from pbitstream.farm.work import is_board, measure_cell, worker_url
from pbitstream.study.run import Cell

__all__ = ["measured"]


def measured(
    cluster: Cluster, url: str, topic: str, cells: Sequence[Cell]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield (number, figures) of cells of a topic as workers finish them.

    `url` is the device that every worker opens for itself.
    """
    return cluster.run(measure_cell,
                       [(worker_url(url), topic, point, seed) for point, seed in cells],
                       board=is_board(url))
