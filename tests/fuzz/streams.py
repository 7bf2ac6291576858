"""Connections of TURN's clients and peers under seeded chaos: bytes, ends, commands of the relay and time in
any order, with what must hold at every moment looked at in between.

`python -m tests.fuzz.streams SECONDS SEED` goes on for a time, a seed after another; `script/fuzz` runs it on
modules built with sanitizers. What it finds gets a test of its own, since a seed's course changes with it.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console

from sfu.wire import stun
from sfu.wire.stun import MessageClass
from sfu.wire.turn import Method, build_channel_data
from tests.turn.relay_lab import LIFE_US, packed, udp
from tests.turn.stream_lab import CERTIFICATE, StreamLab, trusting
from turn.relay import StaleHandle, TableFull

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = 400
STREAMS, ALLOCATIONS = 20, 5
CHANNEL = 0x4001
BINDING = stun.build(stun.BINDING, MessageClass.REQUEST, bytes(12))
BIND = stun.build(Method.CONNECTION_BIND, MessageClass.REQUEST, bytes(12))
ANSWER = stun.build(Method.CONNECTION_BIND, MessageClass.SUCCESS, bytes(12))
RESET = struct.pack("ii", 1, 0)
FAULTS = (OSError, ssl.SSLError, ValueError)  # of an end that is gone, or has not done its handshake


@dataclass
class End:
    """One end of a connection, outside the relay: what it said and what it heard."""

    sock: socket.socket
    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    waiting: bytes = b""
    """What TLS has begun to send: it has to come again before anything else."""


@dataclass
class Link:
    """A client's connection. `allocation` is the relay's handle, `peer` what a data connection leads to."""

    end: End
    is_tls: bool
    allocation: int | None = None
    peer: End | None = None
    answer: bytes = b""  # behind which all that it hears is its peer's


class Chaos:
    """A relay, and all that is done to it."""

    def __init__(self, lab: StreamLab, seed: int) -> None:
        self.lab = lab
        self.rng = random.Random(seed)
        self.links: dict[int, Link] = {}
        self.peers: list[socket.socket] = []
        self.relayed: list[tuple[str, int]] = []
        self.counted = lab.relay.counters()
        self.acts: list[Callable[[], None]] = [
            *(self.connect, self.shake, self.allocate, self.join) * 3,
            *(self.speak, self.listen) * 6,
            *(self.finish, self.datagram, self.reply, self.pass_time, self.certify),
            *(self.release, self.part, self.drop),
        ]

    def step(self) -> None:
        """Do one thing, let the relay work, and look."""
        self.rng.choice(self.acts)()
        if self.rng.random() < 0.8:
            self.lab.run()
            self.settle()
        self.look()

    def look(self) -> None:
        """What must hold at every moment."""
        counters, live = self.lab.relay.counters(), self.lab.relay.live()
        fallen = [name for name, count in counters.items() if count < self.counted[name]]
        assert not fallen, f"{fallen} fell"
        self.counted = counters
        held = [link for link in self.links.values() if link.allocation is not None]
        joined = [link for link in self.links.values() if link.peer is not None]
        assert live["allocations"] == len(held)
        assert live["splices"] <= len(joined)
        assert len(self.links) <= live["streams"] <= len(self.links) + len(joined)
        for link in joined:
            assert link.peer is not None
            # what is lost with a connection that broke is its end, never a part in between
            _, answer, heard = bytes(link.end.heard).partition(link.answer)
            assert not answer or link.peer.said.startswith(heard), "to the client"
            assert link.end.said.startswith(link.peer.heard), "to the peer"

    def settle(self) -> None:
        """Forget what the relay says is over."""
        for stream, _ in self.lab.ended:
            if stream in self.links:
                self.forget(stream)
        self.lab.ended.clear()
        self.lab.asked.clear()

    def forget(self, stream: int) -> None:
        link = self.links.pop(stream)
        if link.allocation is not None:
            self.lab.relay.remove(link.allocation)
        self.lab.relay.drop_stream(stream)
        link.end.sock.close()
        if link.peer is not None:
            link.peer.sock.close()

    def end(self) -> None:
        """With the last connection all is gone."""
        for stream in list(self.links):
            self.forget(stream)
        assert not any(self.lab.relay.live().values()), self.lab.relay.live()
        for peer in self.peers:
            peer.close()

    # what is done

    def any_link(self, *, free: bool = False) -> int | None:
        found = [
            stream
            for stream, link in self.links.items()
            if not free or (link.allocation is None and link.peer is None)
        ]
        return self.rng.choice(found) if found else None

    def connect(self) -> None:
        sock = socket.create_connection(self.lab.listening.getsockname())
        if self.rng.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        accepted, _ = self.lab.listening.accept()
        is_tls = self.rng.random() < 0.4
        with accepted:
            try:
                stream = self.lab.relay.add_stream(accepted.fileno(), is_tls, self.lab.now)
            except TableFull:
                sock.close()
                return
            accepted.detach()
        sock.setblocking(False)
        if is_tls and self.rng.random() < 0.9:
            sock = trusting().wrap_socket(sock, do_handshake_on_connect=False)
        self.links[stream] = Link(End(sock), is_tls)

    def shake(self) -> None:
        for link in self.links.values():
            if isinstance(link.end.sock, ssl.SSLSocket):
                for _ in range(self.rng.randint(1, 4)):
                    with suppress(*FAULTS):
                        link.end.sock.do_handshake()
                    self.lab.run()

    def allocate(self) -> None:
        stream = self.any_link(free=True)
        if stream is None:
            return
        rates = self.rng.choice([(0, 0), (1, 1), (100, 10_000), (0, 200_000)])
        try:
            handle = self.lab.relay.add_streamed(stream, *rates)
        except TableFull:
            return
        self.links[stream].allocation = handle
        if self.rng.random() < 0.7:
            relayed, peer = udp("127.0.0.1"), udp("127.0.0.1")
            peer.setblocking(False)
            self.peers.append(peer)
            self.relayed.append(relayed.getsockname())
            self.lab.relay.attach(handle, relayed.detach())
            ip, port = packed("127.0.0.1"), peer.getsockname()[1]
            self.lab.relay.permit(handle, ip, self.lab.now + LIFE_US, False)
            self.lab.relay.bind(handle, CHANNEL, ip, port, self.lab.now + LIFE_US)

    def release(self) -> None:
        held = [link for link in self.links.values() if link.allocation is not None]
        if held and self.rng.random() < 0.2:
            link = self.rng.choice(held)
            assert link.allocation is not None
            self.lab.relay.remove(link.allocation)
            link.allocation = None

    def join(self) -> None:
        """As a server does it: for a ConnectionBind, behind which all is the peer's, with an answer to it."""
        stream = self.any_link(free=True)
        owners = [link.allocation for link in self.links.values() if link.allocation is not None]
        if stream is None or not owners:
            return
        link, behind = self.links[stream], self.rng.choice([b"", self.bytes()])
        if link.end.waiting:
            return
        self.lab.run()
        self.lab.asked.clear()
        link.end.said.clear()
        bind = stun.build(Method.CONNECTION_BIND, MessageClass.REQUEST, self.rng.randbytes(12))
        self.say(link.end, bind + behind)
        self.lab.run()
        if (stream, bind) not in self.lab.asked[-1:]:
            return  # it stands behind half a message, or another request
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer = socket.create_connection(listening.getsockname())
            ours, _ = listening.accept()
        peer.setblocking(False)
        if self.rng.random() < 0.3:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with ours:
            try:
                self.lab.relay.splice(stream, self.rng.choice(owners), ours.fileno())
            except (TableFull, StaleHandle, ValueError):
                peer.close()
                return
            ours.detach()
        link.peer = End(peer)
        del link.end.said[: len(bind)]
        link.answer = stun.build(Method.CONNECTION_BIND, MessageClass.SUCCESS, self.rng.randbytes(12))
        self.lab.relay.send_stream(stream, link.answer)

    def part(self) -> None:
        stream = self.any_link()
        if stream is not None and self.rng.random() < 0.5:
            with suppress(ValueError, StaleHandle):
                self.lab.relay.end_splice(stream)

    def drop(self) -> None:
        stream = self.any_link()
        if stream is not None and self.rng.random() < 0.3:
            self.forget(stream)

    def speak(self) -> None:
        stream = self.any_link()
        if stream is None:
            return
        link = self.links[stream]
        ends = [link.end] if link.peer is None else [link.end, link.peer]
        speaker = self.rng.choice(ends)
        data = BINDING if link.peer is None and self.rng.random() < 0.9 else self.bytes()
        self.say(speaker, data)

    def listen(self) -> None:
        stream = self.any_link()
        if stream is None:
            return
        link = self.links[stream]
        for end in [link.end] if link.peer is None else [link.end, link.peer]:
            with suppress(*FAULTS):
                end.heard += end.sock.recv(self.rng.choice([1, 100, 10_000, 1 << 18]))
            if link.peer is None:
                end.said.clear()
                end.heard.clear()

    def finish(self) -> None:
        stream = self.any_link()
        if stream is None:
            return
        link = self.links[stream]
        sock = self.rng.choice([link.end] if link.peer is None else [link.end, link.peer]).sock
        with suppress(*FAULTS):
            how = self.rng.randrange(3)
            if how == 0:
                socket.socket.shutdown(sock, socket.SHUT_WR)  # TLS's own forgets that it is TLS
                return
            if how == 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()

    def datagram(self) -> None:
        for peer in self.peers[-3:]:
            for _ in range(self.rng.randint(1, 40)):
                with suppress(*FAULTS):
                    peer.sendto(
                        self.rng.randbytes(self.rng.choice([0, 1, 3, 1200])), self.rng.choice(self.relayed)
                    )

    def reply(self) -> None:
        stream = self.any_link()
        if stream is not None and self.links[stream].peer is None:
            self.lab.relay.send_stream(stream, ANSWER)

    def pass_time(self) -> None:
        self.lab.now += self.rng.choice([1000, 100_000, 1_000_000])
        limit = self.rng.choice([1_000_000, *[10_000_000] * 9])
        self.lab.relay.end_overdue(self.lab.now, limit, limit, 3 * limit, limit)

    def certify(self) -> None:
        self.lab.relay.set_certificates([CERTIFICATE])

    def say(self, end: End, data: bytes) -> None:
        """Send what can be sent of it, or of what waits."""
        data = end.waiting or data
        try:
            sent = end.sock.send(data)
        except ssl.SSLWantWriteError:
            end.waiting = data
        except FAULTS:
            pass
        else:
            end.waiting = b""
            end.said += data[:sent]

    def bytes(self) -> bytes:
        rng = self.rng
        whole = rng.choice(
            [
                BINDING,
                BIND,
                build_channel_data(CHANNEL, rng.randbytes(rng.randrange(1300)), padded=True),
                build_channel_data(0x7FFF, b"", padded=True),
                BINDING * 40,
                b"\x00\x01\xff\xfc\x21\x12\xa4\x42" + rng.randbytes(12),
                rng.randbytes(rng.choice([1, 2, 3, 50, 5000, 100_000])),
                b"\x40\x01\xff\xff" + rng.randbytes(2000),
            ]
        )
        return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.3 else whole


def run(seed: int, steps: int = STEPS) -> None:
    """One course of things. Raises AssertionError for what must not be."""
    bounds = {"streams_max": STREAMS, "allocations_max": ALLOCATIONS, "write_queue": 65_536}
    with StreamLab(certificate=CERTIFICATE, **bounds) as lab:
        chaos = Chaos(lab, seed)
        for _ in range(steps):
            chaos.step()
        chaos.end()


def main(seconds: float, seed: int) -> None:
    """Go on for so long."""
    until, first = time.monotonic() + seconds, seed
    out = Console(highlight=False)
    while time.monotonic() < until:
        try:
            run(seed)
        except BaseException:
            out.print(f"streams: seed {seed}")
            raise
        seed += 1
    out.print(f"streams: {seed - first} courses of {STEPS} steps, seeds {first} to {seed - 1}")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
