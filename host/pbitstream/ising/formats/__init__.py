"""Files of Ising problems, one module per family; `read_problem` recognises them by content."""

from pbitstream.ising.formats.recognise import FORMATS, read_problem

__all__ = ["FORMATS", "read_problem"]
