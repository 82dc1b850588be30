"""A task: what is sent to a worker, which refuses it unless its pbitstream is the sender's."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable
from typing import Any

from pbitstream.errors import DeviceError
from pbitstream.spec import spec_digest
from pbitstream.study.sources import code_digest

__all__ = ["Code", "code", "packed", "perform"]

#: Digests of spec and code: what must be equal for results to be.
Code = tuple[str, str]


def code() -> Code:
    """Return the digests of this process."""
    return spec_digest()[:16], code_digest()


def packed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Return a call as bytes, so that nothing is unpacked before the code has been compared."""
    return pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)


def perform(asked: Code, call: bytes) -> Any:
    """Run a packed call from a process with the digests `asked`; DeviceError for others."""
    own = code()
    if own != asked:
        raise DeviceError(
            f"the worker on {socket.gethostname()} has pbitstream with spec {own[0]}, code "
            f"{own[1]}, not spec {asked[0]}, code {asked[1]} as here, so its bits may differ; "
            "install the same version on both and start the worker anew")
    function, arguments = pickle.loads(call)
    return function(*arguments)
