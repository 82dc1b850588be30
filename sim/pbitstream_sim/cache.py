"""Where builds are kept: a folder per build, named by what it was made from, whole or not there."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from pbitstream.errors import DeviceError

__all__ = ["cached", "folder"]

#: Builds of a kind that are kept; those unused for the longest time go.
KEPT = 12


def folder() -> Path:
    """Return the folder of all builds; XDG_CACHE_HOME moves it."""
    place = Path(user_cache_path("pbitstream")) / "builds"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return place
    except OSError as error:
        raise DeviceError(f"builds of the simulation are kept in {place}, which cannot be written "
                          f"({error.strerror}); set XDG_CACHE_HOME to a folder that can") from error


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of a build, having let `make` fill it if it is not there.

    Of processes that want the same build at once, one makes it and the others wait. `make` fills a
    temporary folder that gets its name when it is complete, so whatever is interrupted leaves
    nothing that looks like a build; the next `make` removes what it left.
    """
    place = folder()
    built = place / f"{kind}-{key}"
    if not built.is_dir():
        with _locked(place / f"{kind}-{key}.lock"):
            if not built.is_dir():
                for stale in place.glob(f".{kind}-{key}.*"):
                    shutil.rmtree(stale, ignore_errors=True)
                temporary = Path(tempfile.mkdtemp(dir=place, prefix=f".{kind}-{key}."))
                try:
                    make(temporary)
                    os.replace(temporary, built)
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True)
                    raise
        _forget_old(place, kind)
    with suppress(OSError):  # a cache that someone else owns
        os.utime(built)
    return built


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, which a process that ends gives back however it ends."""
    import fcntl

    with open(path, "a", encoding="utf-8") as file:
        # A file system without locks costs a second build, never a wrong one.
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_old(place: Path, kind: str) -> None:
    """Remove builds beyond `KEPT`, oldest use first, but none used within the last hour."""
    builds = [path for path in place.glob(f"{kind}-*") if path.is_dir()]
    builds.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in builds[KEPT:]:
        if path.stat().st_mtime < time.time() - 3600:
            shutil.rmtree(path, ignore_errors=True)
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
