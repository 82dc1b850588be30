"""DIMACS graph files: max-cut on the graph of a clique or colouring instance.

Lines are ``c`` comments, one ``p edge NODES EDGES`` (or ``p col``), then ``e i j`` or ``e i j w``
with nodes from 1 on. Many instances list an edge in both directions: that is one edge.
"""

from pbitstream.ising.formats.lines import Edges, Text
from pbitstream.ising.problem import Problem

__all__ = ["KINDS", "read_dimacs"]

#: Words after ``p`` that announce a graph.
KINDS = ("edge", "edges", "col")


def read_dimacs(text: Text, name: str) -> Problem:
    """Return the max-cut problem of a DIMACS graph: J = -w, w = 1 unless given; labels from 1."""
    rows = text.rows(comment="", letter="c")
    line, words = next(rows, (0, []))
    if len(words) != 4 or words[0] != "p" or words[1] not in KINDS:
        raise text.fail(line, "a DIMACS graph must begin with p edge NODES EDGES or p col NODES "
                              f"EDGES, not {' '.join(words) or 'nothing'}")
    nodes = text.nodes(line, words[2])
    count = text.whole(line, "number of edges", words[3])
    edges = Edges(text, 1, nodes)
    weights: dict[tuple[int, int], float] = {}
    lines = 0
    for line, words in rows:
        if words[0] != "e" or len(words) not in (3, 4):
            raise text.fail(line, f"a line must be e i j or e i j w, not {' '.join(words)}")
        first, second = edges.node(line, words[1]), edges.node(line, words[2])
        weight = text.real(line, "weight", words[3]) if len(words) == 4 else 1.0
        lines += 1
        if weights.get((second, first)) == weight and (first, second) not in weights:
            weights[first, second] = weight
            continue
        weights[first, second] = weight
        edges.add(line, first, second, weight)
    if count not in (lines, len(edges.first)):
        raise text.fail(0, f"{count} edges are announced, {lines} found")
    return Problem.max_cut(
        [i - 1 for i in edges.first], [i - 1 for i in edges.second], edges.weight, n=nodes,
        labels=tuple(range(1, nodes + 1)), name=name, source=text.path,
    )
