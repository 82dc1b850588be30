"""A manifest round-trips, and whatever is wrong with it or its bitstream is refused."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loading import RIGHT, WRONG, Place, bitstream
from pbitstream.errors import FileFormatError
from pbitstream.spec.manifest import Manifest, device_id


def test_round_trip(place: Place) -> None:
    made = place.write()
    assert Manifest.read(place.manifest) == made
    assert made.check(place.manifest) == place.bitstream.read_bytes()
    assert json.loads(made.to_json())["idcode"] == "0x41113043"


def test_device_id_of_a_bitstream() -> None:
    assert device_id(bitstream(RIGHT)) == RIGHT
    assert device_id(bitstream(WRONG)) == WRONG
    assert device_id(b"") is None
    assert device_id(bytes(1000)) is None
    assert device_id(bitstream()[:40]) is None


@pytest.mark.parametrize(("changes", "message"), [
    ({"spec_digest": "f" * 64}, "built for spec ffffffffffffffff, this is spec"),
    ({"sha256": "0" * 64}, "damaged"),
    ({"size": 7}, "damaged"),
    ({"idcode": WRONG}, "holds device id 0x41113043, and not 0x21111043"),
])
def test_a_bitstream_that_does_not_fit_is_refused(place: Place, changes: dict[str, Any],
                                                  message: str) -> None:
    place.write(**changes)
    with pytest.raises(FileFormatError, match=message):
        Manifest.read(place.manifest).check(place.manifest)


def test_every_damaged_byte_is_noticed(place: Place) -> None:
    made = place.write()
    data = place.bitstream.read_bytes()
    for at in range(0, len(data), 7):
        place.bitstream.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(FileFormatError, match="damaged"):
            made.check(place.manifest)
    for length in (0, 1, len(data) - 1):
        place.bitstream.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match="damaged"):
            made.check(place.manifest)
    place.bitstream.unlink()
    with pytest.raises(FileFormatError, match="is missing; build it again"):
        made.check(place.manifest)


@pytest.mark.parametrize(("field", "value", "message"), [
    ("schema", 2, "a manifest of schema 2, this is 1"),
    ("pbitstream", "program", "not the manifest of a bitstream"),
    ("bitstream", "../secret.bit", "must be a file beside the manifest"),
    ("bitstream", "..", "must be a file beside the manifest"),
    ("board", "--help", "is no name of a board"),
    ("programmer", {"tool": "openFPGALoader", "board": "-x"}, "is no name of a board"),
    ("programmer", {"tool": "openFPGALoader", "board": 7}, "damaged manifest"),
    ("image", {"lanes": 3}, "damaged manifest"),
    ("idcode", 7, "damaged manifest"),
    ("sha256", None, "sha256 must be text"),
    ("line", ..., "'line' is missing"),
])
def test_a_damaged_manifest_is_refused(place: Place, field: str, value: Any,
                                       message: str) -> None:
    place.write()
    data = json.loads(place.manifest.read_text())
    data[field] = value
    if value is ...:
        del data[field]
    place.manifest.write_text(json.dumps(data))
    with pytest.raises(FileFormatError, match=message):
        Manifest.read(place.manifest)


@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1 << 12), byte=st.integers(0, 255), cut=st.booleans())
def test_any_byte_of_a_manifest_may_be_wrong(place: Place, at: int, byte: int,
                                             cut: bool) -> None:
    place.write()
    text = place.manifest.read_bytes()
    at %= len(text)
    place.manifest.write_bytes(text[:at] if cut else text[:at] + bytes([byte]) + text[at + 1 :])
    # Most are seen, the others change nothing that can be told from intent.
    with suppress(FileFormatError):
        Manifest.read(place.manifest)


def test_the_committed_manifests_describe_their_bitstreams() -> None:
    folder = Path(__file__).parents[2] / "bitstreams"
    for path in folder.glob("*.json"):
        manifest = Manifest.read(path)
        manifest.check(path)
        assert manifest.clock.achieved >= manifest.clock.requested
