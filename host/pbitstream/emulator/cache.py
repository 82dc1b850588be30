"""Where compiled kernels are kept: a folder of their own for every spec and kernel source.

numba's cache sees changes of the file a function stands in, not of what it imports. So the folder's
name holds the spec digest and all of this package: an edited spec or kernel compiles anew and never
runs old bits.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from pbitstream.spec import spec_digest

__all__ = ["cache_folder", "kernels_cached"]


def cache_folder() -> Path:
    """Return a writable folder: NUMBA_CACHE_DIR or the user's cache, else a temporary one."""
    chosen = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return _folder(Path(chosen) if chosen else Path(os.path.expanduser("~")) / ".cache")


@cache
def _folder(base: Path) -> Path:
    """Return the folder under a base; found once, as every load of a program asks for it."""
    source = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    name = hashlib.sha256(bytes.fromhex(spec_digest()) + source).hexdigest()[:16]
    folder = base / "pbitstream" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="pbitstream-"))


@contextmanager
def kernels_cached() -> Iterator[None]:
    """Let numba keep what is decorated inside in our folder; its own setting is put back."""
    from numba.core import config

    settings: Any = config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(cache_folder())
    try:
        yield
    finally:
        settings.CACHE_DIR = before
