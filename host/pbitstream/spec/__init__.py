"""The single source of every number that a chip and a program must agree on.

Imports the standard library and `pbitstream.errors` only, so that gateware, tools and boards can
use it without NumPy.
"""

from pbitstream.spec.digest import canonical_json, spec_dict, spec_digest, spec_register
from pbitstream.spec.fixed import Format, rhu, sat
from pbitstream.spec.topology import BandBank, Bank, LowRankBank, Module, SparseBank, Topology

__all__ = [
    "BandBank",
    "Bank",
    "Format",
    "LowRankBank",
    "Module",
    "SparseBank",
    "Topology",
    "canonical_json",
    "rhu",
    "sat",
    "spec_dict",
    "spec_digest",
    "spec_register",
]
