# The shape of recorded video: when packets came, how long they were, what they began and ended. A `Trace` owns
# its packets; any number of `Outgoing` play it.


cdef struct TracePacket:
    int64_t at_us           # since the first
    uint32_t timestamp      # RTP units since the first
    uint16_t size           # of the payload
    uint8_t flags           # TRACE_...


cdef class Trace:
    """A trace, checked: packets in their order, at least one frame that is a keyframe and begins."""

    cdef readonly int count
    cdef readonly int64_t length_us     # after which it begins anew
    cdef TracePacket *_packets          # owned

    def __cinit__(self, packets, int64_t length_us):
        """`packets`: (microseconds since the first, RTP timestamp since the first, payload bytes, flags)."""
        cdef TracePacket *p
        cdef int64_t before = 0
        cdef bint begins = False
        self.count = <int>len(packets)
        self.length_us = length_us
        if not 1 <= self.count <= 1000000:
            raise SealError(f"a trace of {self.count} packets")
        self._packets = <TracePacket *>calloc(self.count, sizeof(TracePacket))
        if self._packets == NULL:
            raise MemoryError
        for i, (at_us, timestamp, size, flags) in enumerate(packets):
            least, most = (1, 255) if flags & TRACE_PADDING else (1, MAX_PACKET_BYTES - 12 - 24)
            if not before <= at_us < length_us or not least <= size <= most or not 0 <= flags < 16:
                raise SealError(f"packet {i} of a trace: {at_us} us, {size} bytes, flags {flags}")
            p = &self._packets[i]
            p.at_us = before = at_us
            p.timestamp = <uint32_t>(timestamp & 0xFFFFFFFF)
            p.size = size
            p.flags = flags
            begins = begins or flags & (TRACE_FIRST | TRACE_KEY) == TRACE_FIRST | TRACE_KEY
        if not begins:
            raise SealError("a trace without the beginning of a keyframe")

    def __dealloc__(self):
        free(self._packets)

    cdef int _next_keyframe(self, int at) noexcept nogil:
        while self._packets[at].flags & (TRACE_FIRST | TRACE_KEY) != TRACE_FIRST | TRACE_KEY:
            at = (at + 1) % self.count
        return at
