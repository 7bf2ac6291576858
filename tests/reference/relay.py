"""What the relay path passes, to whom and in which form, in plain Python (RFC 8656 9, 11, 12)."""

from __future__ import annotations

from dataclasses import dataclass, field

Peer = tuple[bytes, int]  # packed address, port


@dataclass
class Allocation:
    """One client's permissions (their end; whether for our own ports alone) and channels (peer; end)."""

    permissions: dict[bytes, tuple[int, bool]] = field(default_factory=dict[bytes, tuple[int, bool]])
    channels: dict[int, tuple[Peer, int]] = field(default_factory=dict[int, tuple[Peer, int]])
    open_ports: tuple[tuple[int, int], ...] = ()

    def permit(self, ip: bytes, until_us: int, own_ports: bool) -> None:
        """A permission, or a new end and kind of it."""
        self.permissions[ip] = (until_us, own_ports)

    def bind(self, channel: int, peer: Peer, until_us: int) -> None:
        """The last word counts: one channel of a peer, one peer of a channel."""
        self.channels = {number: bound for number, bound in self.channels.items() if bound[0] != peer}
        self.channels[channel] = (peer, until_us)

    def passes(self, peer: Peer, now_us: int) -> bool:
        """Whether the peer may be sent to, and may send."""
        until_us, own_ports = self.permissions.get(peer[0], (now_us, False))
        if until_us <= now_us:
            return False
        return not own_ports or any(low <= peer[1] <= high for low, high in self.open_ports)

    def peer_of(self, channel: int, now_us: int) -> Peer | None:
        """Whom ChannelData is for, or None where it is dropped."""
        peer, until_us = self.channels.get(channel, ((b"", 0), now_us))
        return peer if until_us > now_us and self.passes(peer, now_us) else None

    def channel_of(self, peer: Peer, now_us: int) -> int | None:
        """The channel by which a peer's data comes, or None: by a Data indication."""
        for channel, (bound, until_us) in self.channels.items():
            if bound == peer and until_us > now_us:
                return channel
        return None
