"""The images that have a name: for tests, for an ECP5-85F, for an xc7z020."""

from pbitstream.spec.image import Image

__all__ = ["PRESETS"]

PRESETS = {
    # Small enough to simulate and to prove things about.
    "tiny": Image(lanes=8, max_units=1024, max_rank_words=4096),
    # ECP5-85F.
    "ulx3s": Image(lanes=32, max_units=1024, max_rank_words=1024),
    # xc7z020: a block RAM and a DSP per lane.
    "pynq_z2": Image(lanes=128, max_units=2048, max_rank_words=512),
}
