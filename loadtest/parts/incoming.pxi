# One incoming RTP stream: which packets came, which are missing, what was repaired. An `Incoming` owns its
# table of missing packets. Calls nothing but system.
#
# A packet is missing from the moment a later one came. It is asked for (nack.pxi) when the reordering wait is
# over, then again and again until it comes, `ASK_TRIES` are spent or it is `GIVE_UP_NS` old. The table is
# bounded: when it is full, the oldest are given up.


cdef struct Missing:
    int64_t index
    uint64_t noticed_ns     # a later packet came
    uint64_t asked_ns       # of the first request; 0 before it
    uint64_t due_ns         # of the next request
    uint32_t tries


cdef struct Incoming:
    uint32_t ssrc
    uint8_t pt              # of the latest packet
    bint repairable         # what is missing is asked for
    int repairs             # this is RTX: where the stream that it repairs stands; -1 otherwise
    int64_t first           # index of the first packet
    int64_t highest
    uint64_t received       # packets, each counted once, repaired ones too
    uint64_t octets         # of whole RTP packets without the tag
    uint64_t duplicates
    uint64_t reordered      # came of themselves, after one with a higher index
    uint64_t noticed        # packets that were missing when a later one came
    uint64_t repaired       # of them, those that came after they were asked for
    uint64_t gave_up        # of them, those that were asked for no more
    uint64_t window[WINDOW_WORDS]   # bit `index % WINDOW`: this index was seen
    int64_t transit         # of the latest packet, in units of the clock rate (RFC 3550 6.4.1)
    double jitter
    uint64_t pli_ns         # of the latest PLI
    Missing *missing        # owned, MISSING of them, by rising index; NULL until the first gap
    int missing_count


cdef struct Totals:
    uint64_t rtp            # RTP packets delivered and whole, repaired ones too
    uint64_t octets
    uint64_t rtcp
    uint64_t duplicates     # media packets that were there already, in place or by RTX
    uint64_t rtx            # RTX packets that came, those without a payload not counted
    uint64_t rtx_empty      # RTX packets without a payload: probes
    uint64_t noticed
    uint64_t repaired
    uint64_t gave_up
    uint64_t nacks          # RTCP packets sent that ask for something
    uint64_t nacked         # packets asked for in them
    uint64_t plis           # sent, of those that repair asked for itself
    uint64_t asked          # packets that the other side asked us for
    uint64_t resent         # of them, those sent again
    uint64_t forgotten      # of them, those no longer kept or never sent
    uint64_t dropped_up     # lost on the simulated link
    uint64_t dropped_down
    uint64_t refused        # could not be opened: wrong key, wrong roll-over counter, damaged
    uint64_t unknown        # neither STUN, DTLS, RTP nor RTCP, or RTP before there are keys
    uint64_t unsent         # datagrams that the kernel did not take


def bucket_us(int place) -> int:
    """The least time, in microseconds, that is counted at `place` of a histogram."""
    if place < 32:
        return place
    return (32 + place % 32) << (place // 32 - 1)


cdef inline int64_t incoming_index(Incoming *s, uint16_t seq) noexcept nogil:
    """RFC 3711 3.3.1: the index nearest to the highest so far; a stream begins with roll-over counter 0."""
    if s.received == 0:
        return seq
    return s.highest + <int16_t>(seq - <uint16_t>s.highest)


cdef inline bint incoming_has(Incoming *s, int64_t index) noexcept nogil:
    """Whether an index up to the highest was seen. What is older than the window can't be told from a
    duplicate; the window is seconds long."""
    return s.highest - index >= WINDOW or s.window[(index % WINDOW) >> 6] >> (index & 63) & 1


cdef void incoming_advance(Incoming *s, int64_t index) noexcept nogil:
    """Move the window to a new highest index."""
    cdef int64_t at = s.highest + 1
    if index - s.highest >= WINDOW:
        memset(s.window, 0, sizeof(s.window))
    else:
        while at <= index:
            s.window[(at % WINDOW) >> 6] &= ~(<uint64_t>1 << (at & 63))
            at += 1
    s.highest = index


cdef uint64_t missing_add(Incoming *s, int64_t first, int64_t end, uint64_t now, uint64_t due) noexcept nogil:
    """Note the indices from `first` up to and without `end`; returns how many had to be given up for them."""
    cdef int64_t count = end - first
    cdef int out = 0
    cdef Missing *m
    cdef uint64_t lost
    if s.missing == NULL:
        s.missing = <Missing *>calloc(MISSING, sizeof(Missing))
        if s.missing == NULL:
            return <uint64_t>count
    if count > MISSING:
        lost = <uint64_t>(s.missing_count + count - MISSING)
        s.missing_count = 0
        first = end - MISSING
    else:
        if s.missing_count + count > MISSING:
            out = <int>(s.missing_count + count - MISSING)
            memmove(s.missing, s.missing + out, (s.missing_count - out) * sizeof(Missing))
            s.missing_count -= out
        lost = <uint64_t>out
    while first < end:
        m = &s.missing[s.missing_count]
        m.index = first
        m.noticed_ns = now
        m.asked_ns = 0
        m.due_ns = due
        m.tries = 0
        s.missing_count += 1
        first += 1
    return lost


cdef int missing_find(Incoming *s, int64_t index) noexcept nogil:
    """Where a missing index stands, or -1."""
    cdef int low = 0
    cdef int high = s.missing_count
    cdef int middle
    while low < high:
        middle = (low + high) // 2
        if s.missing[middle].index < index:
            low = middle + 1
        else:
            high = middle
    return low if low < s.missing_count and s.missing[low].index == index else -1


cdef void missing_remove(Incoming *s, int at) noexcept nogil:
    s.missing_count -= 1
    memmove(s.missing + at, s.missing + at + 1, (s.missing_count - at) * sizeof(Missing))
