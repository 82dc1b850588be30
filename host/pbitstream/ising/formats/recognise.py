"""Which format a file is of, by its content, and its problem."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.ising.formats.bqm import MAGIC, read_bqm
from pbitstream.ising.formats.dimacs import KINDS, read_dimacs
from pbitstream.ising.formats.edges import read_edges
from pbitstream.ising.formats.gset import is_gset, read_gset
from pbitstream.ising.formats.lines import Text
from pbitstream.ising.formats.matrix import read_matrix
from pbitstream.ising.formats.qubo import read_qubo
from pbitstream.ising.problem import Problem

__all__ = ["FORMATS", "Recognised", "read_problem", "recognise"]

#: First bytes of a ZIP file, which an .npz is.
ZIP = b"PK\x03\x04"
#: First word of a MatrixMarket file, which would pass for an edge list with a comment.
MATRIX_MARKET = "%%matrixmarket"
#: Formats whose files of two columns look alike.
ALIKE = {"gset": "edges", "edges": "gset"}

TEXT: Mapping[str, Callable[[Text, str], Problem]] = {
    "gset": read_gset,
    "edges": read_edges,
    "dimacs": read_dimacs,
    "qubo": read_qubo,
}
BINARY: Mapping[str, Callable[[str | os.PathLike[str], bytes, str], Problem]] = {
    "npz": read_matrix,
    "bqm": read_bqm,
}
#: Names that `read_problem` takes as format.
FORMATS = (*TEXT, *BINARY)


@dataclass(frozen=True, eq=False)
class Recognised:
    """A problem, the format that its file was read as, and another that it could be of, or none."""

    problem: Problem
    format: str
    rival: str = ""


def read_problem(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - the word that readers of other libraries use
) -> Problem:
    """Read an Ising problem from a file.

    Parameters
    ----------
    path
        A G-set, DIMACS or QUBO file, a plain edge list, an ``.npz`` of a sparse matrix, or a model
        of dimod; see the modules of `pbitstream.ising.formats` for what each says of signs.
    format
        One of `FORMATS`; by default what the content looks like, whatever the file's name.

    Returns
    -------
    Problem
        Its ``name`` is the file's, without endings.

    Raises
    ------
    FileFormatError
        If the file is of no known format or malformed; the message names file, line and reason.
    MissingExtraError
        If it is a model of dimod, and dimod is missing.
    OSError
        If the file cannot be opened.
    """
    return recognise(path, format=format).problem


def recognise(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002 - as in `read_problem`
) -> Recognised:
    """Read a problem as `read_problem` does and say what its file was taken for."""
    if format is not None and format not in FORMATS:
        raise SpecError(f"format must be one of {', '.join(FORMATS)}, not {format}")
    file = Path(path)
    data = file.read_bytes()
    name = file.name.partition(".")[0]
    known = format or _binary(data)
    if known is not None and known in BINARY:
        return Recognised(BINARY[known](path, data, name), known)
    text = Text.decode(path, data)
    if text.text[: len(MATRIX_MARKET)].lower() == MATRIX_MARKET:
        raise text.fail(1, "MatrixMarket files are not read; scipy.sparse.save_npz('J.npz', "
                           "scipy.io.mmread(...)) makes a file that is")
    kind = known or _kind(text)
    rival = "" if known else _rival(text, kind)
    return Recognised(TEXT[kind](text, name), kind, rival)


def _binary(data: bytes) -> str | None:
    """Return the binary format, or dimod's JSON, that bytes look like."""
    if data.startswith(ZIP):
        return "npz"
    return "bqm" if data.startswith(MAGIC) or data.lstrip()[:1] == b"{" else None


def _kind(text: Text) -> str:
    """Return the format that a text looks like."""
    for line, words in text.rows(comment="#%", letter="c"):
        if words[0] == "p":
            if words[1:2] == ["qubo"]:
                return "qubo"
            if words[1:2] and words[1] in KINDS:
                return "dimacs"
            raise text.fail(line, f"p must announce {', '.join(KINDS)} or qubo, not "
                                  f"{' '.join(words[1:]) or 'nothing'}")
        try:
            int(words[0].partition(",")[0])
        except ValueError:
            raise text.fail(line, "neither an edge nor the head of a format that is known: "
                                  f"{' '.join(words)[:60]}") from None
        return "gset" if is_gset(text) else "edges"
    raise FileFormatError(f"{text.path}: it is empty")


def _rival(text: Text, kind: str) -> str:
    """Return the other format that a text of two columns could be of, empty for other texts."""
    start = [words for _, words in islice(text.rows(comment="#%"), 2)]
    return ALIKE.get(kind, "") if all(len(words) == 2 for words in start) else ""
