"""G-set files, as the generator rudy writes them, and ``.mc`` files: max-cut on a weighted graph.

The first line holds the numbers of nodes and edges, every other ``i j w`` or, where w is 1 on all
lines, ``i j``; nodes are numbered from 1 on. ``#`` begins a comment.
"""

from itertools import islice

from pbitstream.ising.formats.lines import Edges, Text
from pbitstream.ising.problem import Problem

__all__ = ["is_gset", "read_gset"]

#: Where a comment begins.
COMMENT = "#"


def is_gset(text: Text) -> bool:
    """Whether text looks like a G-set file.

    Two words, then lines of three; or lines of two words whose count and numbers suit the first.
    """
    start = [words for _, words in islice(text.rows(comment=COMMENT), 2)]
    if not start or len(start[0]) != 2 or len(start[-1]) == 3:
        return bool(start) and len(start[0]) == 2
    rows = list(text.rows(comment=COMMENT))
    try:
        nodes, edges = map(int, rows[0][1])
        numbers = [int(word) for _, words in rows[1:] for word in words]
    except ValueError:
        return False
    return edges == len(rows) - 1 and all(1 <= number <= nodes for number in numbers)


def read_gset(text: Text, name: str) -> Problem:
    """Return the max-cut problem of a G-set file: J = -w, labels from 1 on."""
    rows = text.rows(comment=COMMENT)
    line, words = next(rows, (0, []))
    if len(words) != 2:
        raise text.fail(line, "a G-set file must begin with the numbers of nodes and edges")
    nodes = text.nodes(line, words[0])
    count = text.whole(line, "number of edges", words[1])
    edges = Edges(text, 1, nodes)
    columns = 0
    for line, words in rows:
        columns = columns or len(words)
        if len(words) != columns or columns not in (2, 3):
            raise text.fail(line, f"an edge must be {'i j' if columns == 2 else 'i j w'}, not "
                                  f"{' '.join(words)}")
        weight = text.real(line, "weight", words[2]) if columns == 3 else 1.0
        edges.add(line, edges.node(line, words[0]), edges.node(line, words[1]), weight)
    if len(edges.first) != count:
        raise text.fail(0, f"{count} edges are announced, {len(edges.first)} found")
    return Problem.max_cut(
        [i - 1 for i in edges.first], [i - 1 for i in edges.second], edges.weight, n=nodes,
        labels=tuple(range(1, nodes + 1)), name=name, source=text.path,
    )
