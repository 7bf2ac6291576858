# Owns the words of ICMP: datagrams of peers, on their way to clients. Calls tables, clients and streams.


cdef inline void next_id(Relay r, uint64_t *id) noexcept nogil:
    """Bytes for a transaction id that differ each time; nothing is proved by them in an indication."""
    r.id_state += 2
    id[0] = hash_mix(r.id_state)
    id[1] = hash_mix(r.id_state + 1)


cdef int peer_datagram(
    Relay r, Allocation *a, uint32_t channel, const uint8_t *peer, uint8_t *data, uint32_t size, uint8_t traffic, bint alone
) noexcept nogil:
    """One datagram of a peer that may send, on its way to the client: by its channel, or as a Data indication. `alone`: it
    has room around it."""
    cdef uint64_t id[2]
    cdef uint32_t head = FRAME_CHANNEL_HEAD if channel != NONE else frame_data_head(peer)
    cdef uint32_t padding = 0 if channel != NONE else frame_padding(size)
    cdef uint8_t *out
    if head + size + padding > PAYLOAD_MAX:
        return drop_of(r, a, DROP_TOO_LONG)
    if not bucket_take(&a.down, size, r.now_ns):
        return drop_of(r, a, DROP_PEER_RATE)
    if a.stream != NONE:
        return stream_out(r, a, channel, peer, data, size, head)
    out = burst_head(&r.down)
    if alone:
        out = data - head
        memset(data + size, 0, padding)
    if channel != NONE:
        frame_write_channel(out, r.channels[channel].number, size)
        r.channel_out += 1
    else:
        next_id(r, id)
        frame_write_data(out, peer, size, id)
        r.data_out += 1
    if alone:
        burst_put(&r.down, &a.to, a.client_v4, traffic, 0, out, head + size + padding, 0)
    else:
        burst_put(&r.down, &a.to, a.client_v4, traffic, head, data, size, padding)
    a.packets_out += 1
    a.bytes_out += size
    return 0


cdef int peer_slot(Relay r, uint32_t index, uint32_t side, intake_slot *slot) noexcept nogil:
    """What a peer sent: its right to is looked up once for all datagrams of the slot."""
    cdef Allocation *a = &r.allocations[index]
    cdef uint32_t at, size, channel
    cdef int allowed
    if not slot.has_path:
        return drop(r, DROP_NO_PATH)
    allowed = peer_allowed(r, index, slot.path, &channel)
    if allowed <= 0:
        return drop_of(r, a, DROP_PEER_PORT if allowed else DROP_PEER_NO_PERMISSION)
    at = 0
    while True:   # once where it is one datagram, of no bytes too
        size = slot.size - at if slot.size - at < slot.segment else slot.segment
        r.received += 1
        peer_datagram(r, a, channel, slot.path, slot.data + at, size, slot.traffic, size == slot.size)
        at += size
        if at >= slot.size:
            return 0


cdef uint32_t relay_read(Relay r, uint32_t index, uint32_t side, uint32_t first, uint32_t most) noexcept nogil:
    """Take in what peers sent to a relayed address, `most` at most, into the slots from `first` on; how many it took."""
    cdef Allocation *a = &r.allocations[index]
    cdef RelaySocket *s = &a.sockets[side]
    cdef uint32_t i
    cdef uint32_t want = s.want if s.want < most else most
    cdef uint32_t count = intake_receive(&r.io, s.fd, first, want, False)
    s.want = intake_want(want, count, INTAKE_SLOTS)   # where more waits the next epoll_wait says so
    if a.stream == NONE:
        burst_use(&r.down, r.listeners[a.listener].fd)
    for i in range(count):
        peer_slot(r, index, side, &r.io.slots[first + i])
    return count


cdef void icmp_read(Relay r, uint32_t index, uint32_t side) noexcept nogil:
    """Keep word of datagrams that came to nothing, where their peer still has a permission (RFC 8656 11.5)."""
    cdef Allocation *a = &r.allocations[index]
    cdef icmp_error e
    cdef uint32_t i, channel
    cdef int told
    for i in range(ICMP_PER_SOCKET):
        told = icmp_take(a.sockets[side].fd, &e)
        if told < 0:
            return
        if told == 0:
            continue
        if (
            peer_allowed(r, index, e.peer, &channel) <= 0
            or r.icmp_count == ICMP_KEPT or not bucket_take(&a.icmp, 0, r.now_ns)
        ):
            drop_of(r, a, DROP_ICMP)
            continue
        r.icmp[r.icmp_count].handle = handle_of(index, a.generation)
        r.icmp[r.icmp_count].error = e
        r.icmp_count += 1


cdef void relay_run(Relay r) noexcept nogil:
    """Relay all that waits, for at most the slice; what is left then makes the descriptor readable again."""
    cdef epoll_event events[READY]
    cdef uint32_t first = 0
    cdef uint32_t side, each
    cdef uint64_t what
    cdef int i, count
    cdef int64_t until_ns = batch_clock_ns() + r.slice_ns
    while True:
        count = epoll_wait(r.epoll, events, READY, 0)
        r.waits += 1
        if count <= 0:
            break
        each = INTAKE_SLOTS if count * PER_RELAY < INTAKE_SLOTS else PER_RELAY   # a burst to few leaves together
        for i in range(count):
            what = events[i].data.u64
            if what & IS_STREAM:
                stream_event(r, <uint32_t> (what ^ IS_STREAM), events[i].events)
                continue
            if what & IS_TIMER:
                splice_timer(r)
                continue
            if what & IS_LISTENER:
                burst_flush(&r.down)   # its slots are needed
                first = 0
                listener_read(r, <uint32_t> (what ^ IS_LISTENER))
                continue
            if first + each > INTAKE_SLOTS:
                burst_flush(&r.down)
                first = 0
            side = what & 1
            if events[i].events & EPOLLERR:
                icmp_read(r, <uint32_t> (what >> 1), side)
            first += relay_read(r, <uint32_t> (what >> 1), side, first, each)
        burst_flush(&r.down)
        stage_send(r)
        first = 0
        if r.sated or batch_clock_ns() >= until_ns:
            break
