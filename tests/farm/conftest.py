"""One cluster of two processes for all tests of a farm."""

import pytest


@pytest.fixture(scope="package")
def cluster():
    pytest.importorskip("distributed")
    from pbitstream.farm import Cluster

    with Cluster("local:2") as made:
        yield made
