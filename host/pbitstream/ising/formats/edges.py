"""Plain edge lists: couplings of our own sign, ``E = -sum h m - sum J m m``.

Every line is ``i j J`` or, where all J are 1, ``i j``; ``i i h`` is the bias of i. Nodes are whole
numbers, in any range: those that occur are the p-bits, in ascending order, and become the labels.
``#`` and ``%`` begin a comment, and commas may stand for spaces.
"""

from pbitstream.ising.formats.lines import Edges, Text
from pbitstream.ising.problem import Problem

__all__ = ["read_edges"]

#: Where a comment begins.
COMMENT = "#%"


def read_edges(text: Text, name: str) -> Problem:
    """Return the problem of an edge list."""
    edges = Edges(text)
    bias: dict[int, float] = {}
    columns = 0
    spaced = Text(text.path, text.text.replace(",", " "))
    for line, words in spaced.rows(comment=COMMENT):
        columns = columns or len(words)
        if len(words) != columns or columns not in (2, 3):
            raise text.fail(line, "every line must be i j J, or every line i j, not "
                                  f"{' '.join(words)}")
        first, second = edges.node(line, words[0]), edges.node(line, words[1])
        weight = text.real(line, "J", words[2]) if columns == 3 else 1.0
        if first == second and columns == 3:
            if first in bias:
                raise text.fail(line, f"the bias of {first} stands on a line before already")
            bias[first] = weight
        else:
            edges.add(line, first, second, weight)
    nodes = sorted({*edges.first, *edges.second, *bias})
    if not nodes:
        raise text.fail(0, "it holds no edge")
    place = {node: index for index, node in enumerate(nodes)}
    labels = tuple(nodes) if nodes != list(range(len(nodes))) else None
    return Problem.from_edges(
        [place[i] for i in edges.first], [place[i] for i in edges.second], edges.weight,
        n=len(nodes), h=[bias.get(node, 0.0) for node in nodes],
        labels=labels, name=name, source=text.path,
    )
