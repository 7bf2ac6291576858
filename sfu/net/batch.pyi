from collections.abc import Sequence

from sfu.net.address import Path

class Batch:
    """Slots for datagrams on one UDP socket: one call to receive, one to send (recvmmsg, sendmmsg).

    What a full socket does not take waits, at most `send_slots` datagrams; then the oldest video goes.

    `family` is that of the socket: AF_INET6 (IPv4 arrives v4-mapped) or AF_INET. The socket stays
    the caller's and must outlive the batch; `sfu.net.udp.open_udp` opens one that fits. Compiled
    code takes the slots by `cimport`; these methods are for slow paths.
    """

    def __init__(
        self, fd: int, family: int, *, receive_slots: int = 64, send_slots: int = 1024, slot_size: int = 2048
    ) -> None: ...
    def receive(self, now_us: int) -> list[tuple[Path, bytes]]:
        """One receive call: what has arrived, at most `receive_slots` datagrams, with the path of each."""

    def send(self, path: Path, data: bytes) -> bool:
        """Send one datagram at once, from the address that `path` names as ours.

        False when the kernel refused it; while the socket is full it waits its turn. Raises ValueError for
        a path that is not 38 bytes or data longer than a slot.
        """

    def send_all(self, datagrams: Sequence[tuple[Path, bytes, bool]]) -> int:
        """Send several (path, data, whether video) as the compiled callers do; how many the kernel took."""

    def blocked(self) -> bool:
        """Whether the socket is full: call `on_writable` when it no longer is."""

    def on_writable(self) -> int:
        """Send what waited; how many datagrams the kernel took."""

    def live_slots(self) -> int:
        """Send slots taken and not yet sent: 0 between calls, unless `blocked`."""

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name: datagrams, bytes and calls both ways, and losses by reason."""
