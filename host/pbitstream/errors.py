"""Every error that pbitstream raises on purpose, one tree, each also the builtin it refines."""

__all__ = [
    "DeviceError",
    "DeviceTimeoutError",
    "FileFormatError",
    "MissingExtraError",
    "PbitstreamError",
    "SpecError",
    "UnstableError",
]


class PbitstreamError(Exception):
    """Anything that pbitstream refuses or cannot do."""


class SpecError(PbitstreamError, ValueError):
    """An argument or a program breaks a rule of the spec; nothing has been touched."""


class UnstableError(SpecError):
    """A program has no stable equilibrium at its step size; the message holds the margin."""


class FileFormatError(PbitstreamError, ValueError):
    """A file is damaged, truncated or not what it claims; nothing of it has been used."""


class MissingExtraError(PbitstreamError, ImportError):
    """An optional package or tool is absent; the message names what installs it."""


class DeviceError(PbitstreamError, OSError):
    """A device or its link failed; the message says what was sent and what came back."""


class DeviceTimeoutError(DeviceError, TimeoutError):
    """A device did not answer in time; it needs a reset before the next call."""
