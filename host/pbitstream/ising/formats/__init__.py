"""Files of Ising problems, one module per family; `read_problem` recognises them by content."""

from pbitstream.ising.formats.recognise import FORMATS, Recognised, read_problem, recognise

__all__ = ["FORMATS", "Recognised", "read_problem", "recognise"]
