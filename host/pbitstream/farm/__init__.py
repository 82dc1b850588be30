"""Many computers or boards as one device, by Dask distributed."""

from pbitstream.farm.cluster import Cluster
from pbitstream.farm.device import Farm

__all__ = ["Cluster", "Farm"]
