"""Which format a file is of, by its content, and its problem."""

import os
from collections.abc import Callable, Mapping
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

__all__ = ["FORMATS", "read_problem"]

#: First bytes of a ZIP file, which an .npz is.
ZIP = b"PK\x03\x04"

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
    if format is not None and format not in FORMATS:
        raise SpecError(f"format must be one of {', '.join(FORMATS)}, not {format}")
    file = Path(path)
    data = file.read_bytes()
    name = file.name.partition(".")[0]
    known = format or _binary(data)
    if known is not None and known in BINARY:
        return BINARY[known](path, data, name)
    text = Text.decode(path, data)
    return TEXT[known or _kind(text)](text, name)


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
