"""QUBO files as qbsolv reads them: ``E(x) = sum Q_ii x_i + sum Q_ij x_i x_j`` over x in {0, 1}.

Lines are ``c`` comments, one ``p qubo TOPOLOGY MAXNODES NODES COUPLERS`` with topology 0 or
``unconstrained``, then as many ``i i Q_ii`` and ``i j Q_ij`` with i < j, nodes from 0 to
MAXNODES - 1. The nodes that occur are the p-bits, in ascending order, and become the labels.
"""

from pbitstream.ising.formats.lines import Edges, Text
from pbitstream.ising.problem import Problem

__all__ = ["read_qubo"]

TOPOLOGIES = ("0", "unconstrained")


def read_qubo(text: Text, name: str) -> Problem:
    """Return the problem of a QUBO file, x = (1 + m) / 2; its energies are the file's."""
    rows = text.rows(comment="", letter="c")
    line, words = next(rows, (0, []))
    if len(words) != 6 or words[:2] != ["p", "qubo"]:
        raise text.fail(line, "a QUBO file must begin with p qubo TOPOLOGY MAXNODES NODES "
                              f"COUPLERS, not {' '.join(words) or 'nothing'}")
    if words[2] not in TOPOLOGIES:
        raise text.fail(line, f"topology must be 0 or unconstrained, not {words[2]}")
    most, nodes, couplers = (text.whole(line, what, word) for what, word in
                             zip(("MAXNODES", "NODES", "COUPLERS"), words[3:]))
    edges = Edges(text, 0, most - 1)
    q: dict[tuple[int, int], float] = {}
    for line, words in rows:
        if len(words) != 3:
            raise text.fail(line, f"a line must be i j Q, not {' '.join(words)}")
        first, second = edges.node(line, words[0]), edges.node(line, words[1])
        value = text.real(line, "Q", words[2])
        if first > second:
            raise text.fail(line, f"i must be at most j, not {first} above {second}")
        if first != second:
            edges.add(line, first, second, value)
        elif (first, first) in q:
            raise text.fail(line, f"node {first} stands on a line before already")
        q[first, second] = value
    found = len(q) - len(edges.first), len(edges.first)
    if found != (nodes, couplers):
        raise text.fail(0, f"{nodes} nodes and {couplers} couplers are announced, {found[0]} and "
                           f"{found[1]} found")
    if not q:
        raise text.fail(0, "it holds no node")
    return Problem.from_qubo(q, name=name, source=text.path)
