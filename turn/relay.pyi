from collections.abc import Sequence

from sfu.net.address import Path

class StaleHandle(Exception):
    """A handle whose allocation is gone."""

class TableFull(Exception):
    """A table has reached its bound; the text names it."""

class BadCertificate(ValueError):
    """A pair that TLS can't use; `number` is its place among those that were given."""

    number: int
    def __init__(self, why: str, number: int) -> None: ...

class Relay:
    """Data between the clients of a TURN server, on UDP, TCP and TLS, and their peers on UDP and TCP, without
    Python (RFC 8656 11, 12, 14, RFC 6062 5.4).

    It knows clients by the path on which they arrive, and does as it is told: who may have an allocation,
    which peers are allowed and for how long is for the caller to say. All times are µs of the monotonic
    clock. Handles are generation << 32 | index; a stale one raises StaleHandle. Addresses are packed
    bytes of 4 or 16; ports are numbers.
    """

    def __init__(
        self,
        *,
        seed: bytes,
        allocations_max: int = 5_000,
        permissions_max: int = 40_000,
        channels_max: int = 40_000,
        permissions_each: int = 64,
        channels_each: int = 64,
        control_per_call: int = 128,
        slice_us: int = 5_000,
        streams_max: int = 0,
        listeners_max: int = 32,
        stranger_bytes: int = 2048,
        control_bytes: int = 4096,
        write_queue: int = 262_144,
    ) -> None:
        """`seed`: at least 8 secret bytes, so that nobody can choose what collides in the tables.
        `..._each` is the bound of one allocation. One call hands up at most `control_per_call` STUN
        messages, half of them from clients without an allocation, and relays for about `slice_us`. At most
        `listeners_max` UDP sockets of clients.

        A request of a client without an allocation may have `stranger_bytes`, which on a stream holds for all
        that it says, one of a client that has an allocation `control_bytes` (4,096 at most both). Streams: at
        most `streams_max`; `write_queue` bytes may wait for a client that reads slowly, then datagrams for it
        are dropped."""

    def fileno(self) -> int:
        """A descriptor that is readable while any socket of the relay is: the loop watches this one."""

    def add_listener(self, fd: int, family: int) -> int:
        """A UDP socket on which clients arrive, from `sfu.net.udp.open_udp`; returns its number. The
        descriptor stays the caller's and must outlive the relay or `remove_listener`."""

    def remove_listener(self, listener: int) -> None:
        """Take no more from it. Raises ValueError while clients that came on it have allocations."""

    def on_readable(self, now_us: int) -> bool:
        """Relay what waits. True where there is something that is not for the relay: then call
        `take_messages`, `take_icmp`, `take_stream_messages` and, when those were answered, `take_ended`."""

    def take_messages(self) -> list[tuple[int, Path, bytes]]:
        """The STUN messages of the last `on_readable` that came on listeners and are not for the relay (all
        but Send indications), as (listener, path, message). They are STUN by their header alone."""

    def send(self, listener: int, path: Path, data: bytes) -> bool:
        """Send one datagram to a client at once, from the address that `path` names as ours. False when
        the kernel did not take it: then it is lost."""

    def set_certificates(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """What new TLS connections are shown: of each certificate the PEM texts of it, with those that vouch
        for it, and of its key without a password. A client that names a host (SNI, RFC 6066 3) is shown the
        first that has this name, any other the first of all. Connections that there are keep theirs. Raises
        BadCertificate, and ValueError without a pair; then nothing has changed."""

    def add_stream(self, fd: int, tls: bool, now_us: int) -> int:
        """Take over the descriptor of a TCP connection that a client opened, of TLS or not; returns the
        stream's handle. Where this raises TableFull, OSError, or ValueError (no certificate), the
        descriptor stays the caller's."""

    def drop_stream(self, stream: int) -> None:
        """Close a stream; its handle is stale. Raises ValueError while it has an allocation."""

    def send_stream(self, stream: int, data: bytes) -> bool:
        """Send a message, whole and with its padding, on a stream, behind what waits there. False where
        the stream is over."""

    def take_stream_messages(self) -> list[tuple[int, bytes]]:
        """The STUN messages of the last `on_readable` that came on streams and are not for the relay, as
        (stream, message). What a stream has beyond 16 waits for the next call, and so does all that follows
        a ConnectionBind request: until then it may become a data connection (`splice`)."""

    def end_overdue(
        self, now_us: int, handshake_us: int, message_us: int, unallocated_us: int, half_closed_us: int
    ) -> None:
        """End the streams that take longer than this: for TLS's handshake; for the first message, and for
        the rest of any message whose beginning has come; that have no allocation for so long; data
        connections of which one end has finished and from whose other end nothing came for so long."""

    def take_ended(self) -> list[tuple[int, str]]:
        """The streams that are over since the last call, and why; each is to be dropped. They are read no
        more, but answers still go to a client that has closed its side alone."""

    def splice(self, stream: int, handle: int, fd: int) -> None:
        """Make a stream, on which a client asked for it, the data connection of an allocation to the peer
        that the descriptor of a TCP connection leads to (RFC 6062 5.4). From now on all bytes go across as
        they are, those too that the client sent behind its request; an answer to that may still be sent,
        before the next `on_readable`. Nothing is dropped: an end is not read while 65,536 bytes at most wait
        for the other, nor beyond the allocation's bytes a second. The descriptor is the relay's from now on,
        unless this raises: TableFull, OSError, StaleHandle, or ValueError where the stream has another
        use."""

    def splice_bytes(self, stream: int) -> tuple[int, int]:
        """Bytes that a data connection has carried, from and to the client. Raises ValueError for none."""

    def end_splice(self, stream: int) -> None:
        """Close both ends of a data connection at once, as the end of its allocation does. `take_ended` tells
        of it, and the stream is to be dropped then. Raises ValueError for none."""

    def add_streamed(self, stream: int, packets_per_s: int, bytes_per_s: int) -> int:
        """As `add`, for the client on a stream."""

    def add(self, listener: int, path: Path, packets_per_s: int, bytes_per_s: int) -> int:
        """An allocation for the client on `path`; returns its handle. It may send, and be sent, so many
        datagrams and so many bytes of data a second, half a second's worth at once; 0 is no bound. Raises
        TableFull, and ValueError where the path to this listener has one."""

    def attach(self, handle: int, fd: int) -> None:
        """Give an allocation a relay socket: bound, UDP, of IPv4 or of IPv6 alone; one of each at most.
        The descriptor is the relay's from now on, unless this raises."""

    def detach(self, handle: int, family: int) -> None:
        """Close the relay socket of one family (AF_INET, AF_INET6); its permissions and channels go with
        it."""

    def remove(self, handle: int) -> None:
        """End an allocation: its sockets and data connections are closed, its handle is stale."""

    def set_own_ports(self, ranges: Sequence[tuple[int, int]]) -> None:
        """The ports (first and last of at most 16 ranges) that peers with `own_ports` may be reached at."""

    def set_told(self, rows: Sequence[tuple[bytes, int, int, bytes, int]]) -> None:
        """Addresses of a NAT by which others know this machine, or one beside it. Each row is (address, first
        port, last port, where that leads, its first port), at most 32. What a client sends to a peer at such
        an address goes where it leads, and what comes from there is that peer's, unless the client has a
        permission for the address that it comes from. Permissions, channels and indications have the address
        that is told. To be said before anything is bound."""

    def has_room(self, handle: int, permissions: int, channels: int) -> bool:
        """Whether the tables of all allocations have room for so many more of this one; what is over makes
        room first."""

    def permit(self, handle: int, ip: bytes, until_us: int, own_ports: bool) -> None:
        """A permission, or a new end and kind of one. With `own_ports` the address is one of this
        machine's, and only the ports of `set_own_ports` may send and be sent to. Raises TableFull."""

    def bind(self, handle: int, channel: int, ip: bytes, port: int, until_us: int) -> None:
        """Bind a channel (0x4000 to 0x7FFF), or bind it for longer. The last word counts: what bound the
        number or the peer otherwise is undone. The address must have a permission, which this does not
        lengthen. Raises TableFull, and ValueError without a permission."""

    def take_icmp(self) -> list[tuple[int, bytes, int, int, int, int]]:
        """What peers could not be sent since the last call, as (handle, ip, port, type, code, data) for
        the ICMP attribute (RFC 8656 11.5): at most 256, and 10 a second for one allocation. A handle may
        be stale by now."""

    def counts(self, handle: int) -> dict[str, int]:
        """Datagrams and bytes of data that were relayed from ("in") and to ("out") the client, and
        datagrams dropped in either direction."""

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name: datagrams, bytes and calls, losses by reason (`drop_...`), and
        why streams were over (`end_...`)."""

    def live(self) -> dict[str, int]:
        """Entries in use: allocations, sockets, permissions, channels, streams (of clients and of peers),
        data connections (`splices`)."""
