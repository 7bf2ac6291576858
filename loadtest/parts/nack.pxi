# The requests for what is missing, as bytes: generic NACK (RFC 4585 6.2.1) and PLI (6.3.1). Owns nothing.


cdef struct Request:
    uint8_t *packet
    int room
    int length              # 0: nothing asked for yet
    uint16_t pid            # of the entry that is being filled
    uint16_t blp


cdef inline uint64_t ask_wait_ns(uint64_t rtt_ns, uint32_t tries) noexcept nogil:
    """How long after the request number `tries` (from 0) the next is due: somewhat more than a round trip, half
    as much again with each, as browsers do it at a fixed 1.0."""
    cdef uint64_t wait = rtt_ns + rtt_ns // 4
    if wait < ASK_AGAIN_NS:
        wait = ASK_AGAIN_NS
    while tries > 0:
        wait += wait // 2
        tries -= 1
    return wait


cdef inline void request_begin(Request *r, uint8_t *packet, int room) noexcept nogil:
    r.packet = packet
    r.room = room
    r.length = 0


cdef inline bint request_add(Request *r, uint16_t seq) noexcept nogil:
    """Ask for one more, in rising order; False if there is no room."""
    cdef uint16_t distance
    if r.length:
        distance = <uint16_t>(seq - r.pid)
        if 1 <= distance <= 16:
            r.blp |= <uint16_t>(1 << (distance - 1))
            write16(r.packet + r.length - 2, r.blp)
            return True
    if r.length + (4 if r.length else 16) > r.room:
        return False
    r.length += 4 if r.length else 16
    r.pid = seq
    r.blp = 0
    write16(r.packet + r.length - 4, seq)
    write16(r.packet + r.length - 2, 0)
    return True


cdef inline int request_end(Request *r, uint32_t sender, uint32_t media) noexcept nogil:
    """Write the header; bytes of the packet, 0 if nothing was asked for."""
    if r.length:
        r.packet[0] = 0x80 | GENERIC_NACK
        r.packet[1] = TRANSPORT_FEEDBACK
        write16(r.packet + 2, <uint32_t>(r.length // 4 - 1))
        write32(r.packet + 4, sender)
        write32(r.packet + 8, media)
    return r.length


cdef inline int pli_write(uint8_t *packet, uint32_t sender, uint32_t media) noexcept nogil:
    packet[0] = 0x81
    packet[1] = 206
    write16(packet + 2, 2)
    write32(packet + 4, sender)
    write32(packet + 8, media)
    return 12
