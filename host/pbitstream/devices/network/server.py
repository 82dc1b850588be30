"""The server: one board, one client at a time, and nobody without the token.

A single loop that waits for no connection. Only the board itself is waited for, one request at a
time; in between, others are greeted, and those that are too slow are let go of.
"""

import hmac
import ipaddress
import json
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from pbitstream.devices.board import Board
from pbitstream.devices.network.limits import AddressMap
from pbitstream.devices.network.messages import (
    DONE,
    FAILED,
    LATE,
    READ,
    Answer,
    Introduction,
    MalformedError,
    Request,
    proof,
    take_introduction,
    take_request,
)
from pbitstream.devices.network.peer import Peer, shown
from pbitstream.devices.network.tokens import VARIABLE
from pbitstream.errors import DeviceError, DeviceTimeoutError, SpecError
from pbitstream.spec import spec_digest

__all__ = ["Server", "listen"]

#: Connections that have not shown yet who they are; one more drives out the oldest.
MAX_GREETED = 8
#: Connections that the system may keep until they are accepted.
BACKLOG = 64
#: Seconds for an introduction to come whole.
GREETING_SECONDS = 5.0
#: Seconds that a client waits for the one before it, which may be about to leave.
BUSY_SECONDS = 0.5

Log = Callable[[str], None]


def listen(host: str, port: int, *, token: bytes | None) -> socket.socket:
    """Return a socket that listens.

    Parameters
    ----------
    host, port
        Of one interface; port 0 takes a free one.
    token
        What clients must know; only an interface of this computer alone may do without.

    Raises
    ------
    SpecError
        If the port is none, or other computers could come in without a token.
    DeviceError
        If the address cannot be listened at.
    """
    if not 0 <= port < 1 << 16:
        raise SpecError(f"port must be between 0 and 65535, not {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        if token is None and not ipaddress.ip_address(address[0]).is_loopback:
            raise SpecError(f"host must be this computer's own, such as 127.0.0.1, not {host!r}, "
                            f"while there is no token; set {VARIABLE} or give a token file")
        line = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise DeviceError(f"cannot listen at {host!r}: {error}") from error
    try:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind(address)
        line.listen(BACKLOG)
    except OSError as error:
        line.close()
        raise DeviceError(f"cannot listen at {shown((host, port))}: {error.strerror}; choose "
                          "another port or interface") from error
    line.setblocking(False)
    return line


class Server:
    """Lets one client after the other use the transport of a board.

    Before a client and after it the board is reset, so each finds it idle, however the one before
    it has left.

    Parameters
    ----------
    board
        Open, and for nobody else to use meanwhile; the server does not close it.
    listener
        From `listen`; the server closes it.
    token
        What clients must know, or None.
    log
        Called with one line per connection, when it has ended.
    """

    def __init__(self, board: Board, listener: socket.socket, *, token: bytes | None = None,
                 log: Log = lambda line: None) -> None:
        self._board, self._listener, self._token, self._log = board, listener, token, log
        self._map = AddressMap(board.image)
        info = board.info()
        self._about = json.dumps({"device": info["device"], "kind": info["kind"],
                                  "image": asdict(board.image)}, sort_keys=True).encode()
        self._ailing: str | None = None
        self._greeted: list[Peer] = []
        self._session: Peer | None = None
        self._more = self._stopping = False
        self._selector = selectors.DefaultSelector()
        self._alarm, self._bell = socket.socketpair()
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        for line in (listener, self._alarm):
            self._selector.register(line, selectors.EVENT_READ)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that are listened at."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def stop(self) -> None:
        """End `run` as soon as the board has answered; any thread or signal handler may ask."""
        self._stopping = True
        # It may ring already, or be gone with the server.
        with suppress(OSError):
            self._bell.send(b"\0")

    def run(self) -> None:
        """Serve until `stop`, or an exception that is not the board's; then close."""
        try:
            while not self._stopping:
                for key, mask in self._selector.select(self._patience()):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.data is not None:
                        self._attend(key.data, mask)
                self._work()
                self._admit()
                self._expire()
        finally:
            for peer in self._peers():
                self._drop(peer, "the server stops")
            self._selector.close()
            for line in (self._listener, self._alarm, self._bell):
                line.close()

    # Connections.

    def _accept(self) -> None:
        try:
            line, address = self._listener.accept()
        except OSError:
            return  # It has gone again.
        if len(self._greeted) == MAX_GREETED:
            oldest = next((p for p in self._greeted if not p.admitted), self._greeted[0])
            self._drop(oldest, "refused: too many came after it")
        try:
            peer = Peer(line, shown(address[:2]), time.monotonic() + GREETING_SECONDS)
        except OSError:
            line.close()
            return
        self._greeted.append(peer)
        self._selector.register(line, selectors.EVENT_READ, peer)
        self._send(peer, Introduction(bytes.fromhex(spec_digest()), peer.challenge,
                                      self._token is not None).pack())

    def _attend(self, peer: Peer, mask: int) -> None:
        """Take what has come from a connection, send on what waits for it."""
        if peer.line.fileno() < 0:
            return  # Dropped since it was selected.
        if mask & selectors.EVENT_WRITE and not peer.send():
            self._drop(peer, "lost")
        elif mask & selectors.EVENT_READ and not peer.receive():
            whole = "closed" if not peer.inbox else "lost in the middle of a message"
            self._drop(peer, whole if peer is self._session else "gone without a word")
        elif peer is self._session:
            self._watch(peer)
        elif not peer.admitted:
            self._recognise(peer)
        elif peer.inbox:
            self._refuse(peer, "a request came before its time")

    def _recognise(self, peer: Peer) -> None:
        """Look at an introduction, if it has come."""
        try:
            theirs = take_introduction(peer.inbox)
        except MalformedError as error:
            self._refuse(peer, str(error))
            return
        if theirs is None:
            return
        if self._token is not None and not hmac.compare_digest(
                theirs.challenge, proof(self._token, peer.challenge)):
            self._refuse(peer, "the token is wrong")
        elif theirs.digest != bytes.fromhex(spec_digest()):
            self._refuse(peer, f"spec {theirs.digest.hex()[:16]} came, this is spec "
                               f"{spec_digest()[:16]}; install the same pbitstream on both sides")
        elif peer.inbox:
            self._refuse(peer, "a request came before its time")
        else:
            peer.admitted = True
            peer.deadline = time.monotonic() + BUSY_SECONDS

    def _admit(self) -> None:
        """Let the first in that has waited for the board."""
        peer = next((peer for peer in self._greeted if peer.admitted), None)
        if self._session is not None or peer is None:
            return
        if self._ailing is not None:
            self._rest()
        if self._ailing is not None:
            self._refuse(peer, f"the board does not answer: {self._ailing}")
            return
        self._greeted.remove(peer)
        self._session, peer.deadline = peer, None
        self._send(peer, Answer(0, DONE, self._about).pack())

    def _expire(self) -> None:
        """Let go of those that are too slow."""
        now = time.monotonic()
        for peer in self._peers():
            if peer.deadline is None or now < peer.deadline:
                continue
            if peer.admitted and peer is not self._session:
                user = "nobody any more" if self._session is None else self._session.name
                self._refuse(peer, f"the board is in use, by {user}")
            elif peer is self._session:
                self._drop(peer, "too slow")
            else:
                self._drop(peer, f"refused: no introduction within {GREETING_SECONDS:g} s")

    def _patience(self) -> float | None:
        """Return how long there is nothing to do but wait."""
        if self._more:
            return 0.0
        ends = [peer.deadline for peer in self._peers() if peer.deadline is not None]
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _peers(self) -> list[Peer]:
        return self._greeted + ([] if self._session is None else [self._session])

    def _send(self, peer: Peer, data: bytes) -> None:
        if peer.send(data):
            self._watch(peer)
        else:
            self._drop(peer, "lost")

    def _watch(self, peer: Peer) -> None:
        """Take nothing more from a connection before its answer has gone."""
        mask = selectors.EVENT_WRITE if peer.outbox else selectors.EVENT_READ
        self._selector.modify(peer.line, mask, peer)

    def _refuse(self, peer: Peer, reason: str) -> None:
        """Say why, as far as the line takes it at once, and let go of a connection."""
        peer.send(Answer.of_failure(0, reason).pack())
        self._drop(peer, f"refused: {reason}")

    def _drop(self, peer: Peer, reason: str) -> None:
        self._selector.unregister(peer.line)
        peer.close()
        if peer is not self._session:
            self._greeted.remove(peer)
            self._log(f"{peer.name}: {reason}")
            return
        self._session, self._more = None, False
        self._rest()
        seconds = time.monotonic() - peer.began
        ailing = "" if self._ailing is None else f"; the board does not answer: {self._ailing}"
        self._log(f"{peer.name}: {reason}, after {seconds:.1f} s with {peer.requests} requests of "
                  f"{peer.moved} bytes{ailing}")

    # The board.

    def _rest(self) -> None:
        """Make the board idle."""
        try:
            self._board.reset()
        except DeviceError as error:
            self._ailing = str(error)
        else:
            self._ailing = None

    def _work(self) -> None:
        """Execute the next request, if it is there and its answer can be sent."""
        peer = self._session
        self._more = False
        if peer is None:
            return
        request = None
        try:
            if not peer.outbox:
                request = take_request(peer.inbox, peer.number)
        except MalformedError as error:
            peer.send(Answer.of_failure(peer.number, str(error)).pack())
            self._drop(peer, f"dropped: {error}")
            return
        if request is not None:
            peer.number = peer.number + 1 & 0xFFFFFFFF
            peer.requests += 1
            peer.moved += request.count
            self._send(peer, self._execute(peer, request).pack())
        peer.expect(time.monotonic(), anew=request is not None)
        self._more = request is not None and self._session is peer

    def _execute(self, peer: Peer, request: Request) -> Answer:
        if request.stops:
            peer.failure = None
        if peer.failure is not None:
            status, text = peer.failure
            return Answer.of_failure(request.number, text, status)
        refusal = self._map.refusal(request)
        if refusal is not None:
            peer.failure = FAILED, f"sent {request}; refused: {refusal}"
            return Answer.of_failure(request.number, peer.failure[1])
        try:
            if request.operation == READ:
                data = self._board.transport.read(request.address, request.count)
                return Answer(request.number, DONE, data)
            self._board.transport.write(request.address, request.data)
            return Answer(request.number, DONE)
        except DeviceError as error:
            late = isinstance(error, DeviceTimeoutError)
            peer.failure = LATE if late else FAILED, str(error)
            return Answer.of_failure(request.number, str(error), peer.failure[0])

