"""The device that a command line asks for: one here, or one on every worker of a cluster."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbitstream.devices.protocol import Device

__all__ = ["device_asked"]


@contextmanager
def device_asked(arguments: argparse.Namespace) -> "Iterator[Device]":
    """Yield the device of ``--device``, on the cluster of ``--cluster`` if that is given."""
    if arguments.cluster is None:
        from pbitstream.devices.registry import open_device

        with open_device(arguments.device) as device:
            yield device
        return
    from pbitstream.farm import Cluster, Farm

    with Cluster(arguments.cluster) as cluster, Farm(cluster, arguments.device) as farm:
        yield farm
