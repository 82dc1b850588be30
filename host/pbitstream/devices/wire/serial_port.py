"""A serial line through pyserial: any device or URL that it knows."""

import time
from contextlib import suppress
from typing import Any

from pbitstream.devices.wire.port import PortLostError
from pbitstream.errors import DeviceError, MissingExtraError

__all__ = ["PySerialPort"]

#: What pyserial raises of a line that is gone: not all of it are its own errors.
_GONE: tuple[type[Exception], ...] = (OSError, TypeError, AttributeError)
with suppress(ImportError):  # no such system
    import termios

    _GONE = (*_GONE, termios.error)
_UNOPENED: tuple[type[Exception], ...] = (*_GONE, ValueError)

#: Seconds that a single read or write may take.
READ_SECONDS, WRITE_SECONDS = 0.02, 0.5
#: Seconds between two attempts to find a line that is gone.
RETRY_SECONDS = 0.05


class PySerialPort:
    """Implements `Port` over pyserial.

    Parameters
    ----------
    url
        A device such as ``/dev/ttyUSB1``, or a URL of pyserial such as ``socket://host:port``.
    baud
        The first rate.

    Raises
    ------
    MissingExtraError
        If pyserial is not installed.
    DeviceError
        If the line cannot be opened; the message says why.
    """

    def __init__(self, url: str, baud: int) -> None:
        try:
            import serial
        except ImportError as error:
            raise MissingExtraError("serial: needs pyserial; pip install 'pbitstream[serial]'",
                                    name="serial") from error
        self._serial = serial
        self._url, self._baud = url, baud
        # What plugs are known by, since a device that comes back may have another name.
        self._number: str | None = None
        self._line: Any = None
        try:
            self._open(url)
        except _UNOPENED as error:
            raise DeviceError(f"{url} cannot be opened: {_reason(error)}") from error
        self._number = self._serial_number()

    def read(self, seconds: float) -> bytes:
        """Return what has come."""
        end = time.monotonic() + seconds
        try:
            while True:
                waiting = self._line.in_waiting
                # Waits READ_SECONDS at most, or not at all for what is there.
                if waiting or time.monotonic() < end:
                    data = bytes(self._line.read(max(1, waiting)))
                    if data:
                        # The first byte wakes; most come with it.
                        return data + bytes(self._line.read(self._line.in_waiting))
                if time.monotonic() >= end:
                    return b""
        except _GONE as error:
            raise self._lost(error) from error

    def write(self, data: bytes) -> None:
        """Send bytes."""
        try:
            self._line.write(data)
        except _GONE as error:
            raise self._lost(error) from error

    def set_baud(self, baud: int) -> None:
        """Change the rate of the line."""
        try:
            if baud != self._baud:
                self._line.flush()
                self._line.baudrate = self._baud = baud
        except _GONE as error:
            raise self._lost(error) from error

    def now(self) -> float:
        """Return the seconds of this computer's clock."""
        return time.monotonic()

    def reopen(self, seconds: float) -> None:
        """Close the line and open it, or the one with the same serial number, until that works."""
        end = time.monotonic() + seconds
        while True:
            try:
                self._shut()
                self._open(self._found())
                return
            except _UNOPENED as error:
                if time.monotonic() + RETRY_SECONDS > end:
                    raise PortLostError(f"{self._url} does not come back: "
                                        f"{_reason(error)}") from error
            time.sleep(RETRY_SECONDS)

    def close(self) -> None:
        """Let go of the line."""
        self._shut()

    def _open(self, url: str) -> None:
        line = self._serial.serial_for_url(
            url, do_not_open=True, baudrate=self._baud, timeout=READ_SECONDS,
            write_timeout=WRITE_SECONDS)
        # Two programs on one line would take each other's answers; not all URLs can exclude that.
        with suppress(ValueError, AttributeError, NotImplementedError):
            line.exclusive = True
        line.open()
        self._line = line
        # Adapters hold short answers back otherwise, for 16 ms; not all can be told.
        with suppress(*_UNOPENED, NotImplementedError):
            line.set_low_latency_mode(True)
        with suppress(*_GONE):
            line.reset_input_buffer()

    def _shut(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with suppress(*_GONE):
                line.close()

    def _lost(self, error: BaseException) -> PortLostError:
        return PortLostError(f"{self._url} is gone: {_reason(error)}")

    def _serial_number(self) -> str | None:
        from serial.tools.list_ports import comports

        return next((port.serial_number for port in comports() if port.device == self._url), None)

    def _found(self) -> str:
        if self._number is None:
            return self._url
        from serial.tools.list_ports import comports

        same = [port.device for port in comports() if port.serial_number == self._number]
        return self._url if self._url in same or len(same) != 1 else str(same[0])


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
