"""The digest of all that decides a figure beside the spec: the package's code, and its models."""

import hashlib
from functools import lru_cache
from pathlib import Path

import pbitstream

__all__ = ["code_digest"]

#: What is no code of figures: commands only show them.
OUTSIDE = ("cli",)
ENDINGS = (".py", ".safetensors")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return 16 hex digits over name and content of every source and every shipped model.

    The cost is that of reading the package, once in a process.
    """
    state = hashlib.sha256()
    root = Path(pbitstream.__file__).parent
    for path in sorted(path.relative_to(root) for path in root.rglob("*")):
        if path.suffix in ENDINGS and path.parts[0] not in OUTSIDE:
            content = hashlib.sha256((root / path).read_bytes()).hexdigest()
            state.update(f"{path.as_posix()} {content}\n".encode())
    return state.hexdigest()[:16]
