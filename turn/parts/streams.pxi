# Owns streams, the TCP and TLS connections of clients: what has been read of them and what is to be written to them.
# Calls tables, clients and splices. A stream that is over stays in its table, and its descriptor open, until Python has been told
# and drops it: an answer to its last request can still go out.

END_NAMES = (
    "closed",
    "garbage",
    "too_large",
    "handshake",
    "handshake_time",
    "message_time",
    "unallocated",
    "unread",
    "memory",
    "finished",
    "broken",
    "half_closed",
    "allocation",
)


cdef uint32_t stream_take(Relay r) noexcept nogil:
    cdef uint32_t generation
    cdef uint32_t i = r.stream_free
    if i != NONE:
        r.stream_free = r.streams[i].next
    elif r.stream_top < r.streams_max:
        i = r.stream_top
        r.stream_top += 1
    else:
        return NONE
    generation = r.streams[i].generation
    memset(&r.streams[i], 0, sizeof(stream_t))
    r.streams[i].generation = generation + 1
    r.streams[i].fd = -1
    r.streams[i].allocation = r.streams[i].other = r.streams[i].owner = NONE
    r.streams[i].before = r.streams[i].after = NONE
    r.streams[i].used = True
    r.stream_live += 1
    return i


cdef void stream_give(Relay r, uint32_t i) noexcept nogil:
    r.streams[i].used = False
    r.streams[i].next = r.stream_free
    r.stream_free = i
    r.stream_live -= 1


cdef void stream_freed(Relay r, uint32_t i) noexcept nogil:
    """Its allocation is gone."""
    r.streams[i].allocation = NONE
    r.streams[i].unallocated_us = r.now_us


cdef void stream_end(Relay r, uint32_t i, End why) noexcept nogil:
    """Take no more from a stream, and tell Python so."""
    if r.streams[i].end != END_NONE:
        return
    epoll_ctl(r.epoll, EPOLL_CTL_DEL, r.streams[i].fd, NULL)
    stream_tell(r, i, why)


cdef void stream_fail(Relay r, uint32_t i, End why) noexcept nogil:
    """As stream_end, for one that may be a data connection by now."""
    if r.streams[i].spliced:
        splice_over(r, i, END_BROKEN)
    else:
        stream_end(r, i, why)


cdef void stream_tell(Relay r, uint32_t i, End why) noexcept nogil:
    """Python is to hear that a stream is over."""
    r.streams[i].end = why
    r.ends[<int> why] += 1
    r.streams[i].next = NONE
    if r.ended_first == NONE:
        r.ended_first = i
    else:
        r.streams[r.ended_last].next = i
    r.ended_last = i


cdef void stream_untold(Relay r, uint32_t i) noexcept nogil:
    """Take a stream out of those whose end has to be told."""
    cdef uint32_t before = NONE
    cdef uint32_t at = r.ended_first
    while at != NONE and at != i:
        before, at = at, r.streams[at].next
    if at == NONE:
        return
    if before == NONE:
        r.ended_first = r.streams[i].next
    else:
        r.streams[before].next = r.streams[i].next
    if r.ended_last == i:
        r.ended_last = before


# to clients


cdef void stage_send(Relay r) noexcept nogil:
    """Send what was gathered for a stream."""
    cdef uint32_t i = r.staged_for
    if r.staged and r.streams[i].end == END_NONE:
        r.stream_bytes_out += r.staged
        if stream_put(&r.streams[i], r.stage, r.staged) < 0:
            stream_end(r, i, END_CLOSED)
        else:
            stream_arm(&r.streams[i], r.epoll, IS_STREAM | i)
    r.staged = 0
    r.staged_for = NONE


cdef uint8_t *stage_room(Relay r, uint32_t i, uint32_t size) noexcept nogil:
    """Where the next message of `size` bytes for a stream is to be put, or NULL: too much waits for its client already.
    On TLS each is a record of its own: coturn's client, for one, takes a record for a message."""
    if (
        r.staged_for != i or r.streams[i].ssl != NULL or r.staged + size > STREAM_BYTES
        or stream_queued(&r.streams[i]) + r.staged + size > r.stream_queue
    ):
        stage_send(r)
        r.staged_for = i
    if r.streams[i].end != END_NONE or stream_queued(&r.streams[i]) + r.staged + size > r.stream_queue:
        return NULL
    r.staged += size
    return r.stage + r.staged - size


cdef int stream_out(
    Relay r, Allocation *a, uint32_t channel, const uint8_t *peer, const uint8_t *data, uint32_t size, uint32_t head
) noexcept nogil:
    """A datagram of a peer, which may pass, for a client on a stream: `head` is how long its head is to be, and padding
    follows both forms (RFC 8656 12.5)."""
    cdef uint64_t id[2]
    cdef uint32_t padding = frame_padding(size)
    cdef uint8_t *out = stage_room(r, a.stream, head + size + padding)
    if out == NULL:
        return drop_of(r, a, DROP_WRITE_QUEUE)
    if channel != NONE:
        frame_write_channel(out, r.channels[channel].number, size)
        r.channel_out += 1
    else:
        next_id(r, id)
        frame_write_data(out, peer, size, id)
        r.data_out += 1
    memcpy(out + head, data, size)
    memset(out + head + size, 0, padding)
    a.packets_out += 1
    a.bytes_out += size
    return 0


# from clients


cdef void stream_hand_up(Relay r, uint32_t i, const uint8_t *data, uint32_t size) noexcept nogil:
    """Keep a STUN message for Python; there is room, and it fits."""
    cdef StreamControl *c = &r.stream_controls[r.stream_control_count]
    c.stream = handle_of(i, r.streams[i].generation)
    c.size = size
    memcpy(c.data, data, size)
    r.stream_control_count += 1
    r.control_in += 1


cdef uint32_t stream_cut(Relay r, uint32_t i, uint8_t *data, uint32_t size, uint32_t *need) noexcept nogil:
    """Take the whole messages at the front of `data`; how many bytes they had, and how many the next one `need`s, where
    that is known. Ends the stream at a fault. What is taken in lies where it was until parcels_send."""
    cdef stream_t *s = &r.streams[i]
    cdef framing_t f
    cdef framing_limits *limits = &r.strange if s.allocation == NONE else &r.known
    cdef uint32_t at = 0
    cdef uint32_t handed = 0
    cdef uint32_t handed_max = STREAM_MESSAGES if STREAM_MESSAGES < r.controls_max else r.controls_max
    cdef int result, kind
    need[0] = 0
    while True:
        result = framing_next(&f, data + at, size - at, limits)
        if result < 0:
            stream_end(r, i, END_GARBAGE if result == FRAMING_GARBAGE else END_TOO_LARGE)
            return at
        if result == FRAMING_MORE or f.padded > size - at:
            need[0] = f.padded if result == FRAMING_KNOWN else 0
            return at
        kind = frame_kind(data + at, f.size)
        if kind == FRAME_STUN and handed == handed_max:
            s.again = True
            return at
        r.received += 1
        s.heard = True
        if kind == FRAME_STUN:
            stream_hand_up(r, i, data + at, f.size)
            handed += 1
            if load16(data + at) == CONNECTION_BIND:   # what follows may be data
                s.paused = True
                r.paused[r.paused_count] = i
                r.paused_count += 1
                return at + f.padded
        elif s.allocation == NONE:
            drop(r, DROP_NO_ALLOCATION)
        elif kind == FRAME_CHANNEL:
            channel_in(r, s.allocation, data + at, f.size, 0)
        else:
            send_in(r, s.allocation, data + at, f.size, 0)
        at += f.padded


cdef void stream_read(Relay r, uint32_t i) noexcept nogil:
    """Take in what a client sent, and send what of it is for peers."""
    cdef stream_t *s = &r.streams[i]
    cdef uint8_t *data = r.stream_in
    cdef uint32_t room = STREAM_BYTES
    cdef uint32_t had = s.held_size
    cdef uint32_t got = 0
    cdef uint32_t at, need
    cdef int ended = 0
    if r.controls_max - r.stream_control_count < STREAM_MESSAGES and r.stream_control_count:
        r.sated = True
        return
    if had >= STREAM_DIRECT and s.held_need > had:
        data, room = s.held, s.held_need
    elif had:
        memcpy(data, s.held, had)
    if room > had:
        got = stream_receive(s, data + had, room - had, &ended)
    else:
        s.again = False
    r.stream_bytes_in += got
    at = stream_cut(r, i, data, had + got, &need)
    parcels_send(r)
    if s.end != END_NONE:
        return
    if at == had + got:
        stream_hold_nothing(s)
    else:
        if at or not had:
            s.partial_us = r.now_us
        if data == s.held:
            s.held_size = had + got
        elif stream_hold(s, data + at, had + got - at, need) < 0:
            stream_end(r, i, END_MEMORY)
            return
    if ended:
        stream_end(r, i, END_CLOSED)


cdef void stream_event(Relay r, uint32_t i, uint32_t events) noexcept nogil:
    """Do what can be done with a stream now."""
    cdef stream_t *s = &r.streams[i]
    cdef int done
    if not s.used or s.end != END_NONE:
        return   # since epoll told
    if s.spliced:
        splice_event(r, i, events)
        return
    if s.paused:
        r.sated = True   # Python has to answer first
        return
    if not s.open:
        if r.handshakes == 0:
            r.sated = True
            return
        r.handshakes -= 1
        done = stream_handshake(s)
        if done < 0:
            stream_end(r, i, END_HANDSHAKE)
            return
        if done:
            s.since_us = r.now_us
            s.again = True   # what came behind the handshake may have been read with it
    if s.open:
        if stream_queued(s) and stream_flush(s) < 0:
            stream_end(r, i, END_CLOSED)
            return
        if s.again or events & (EPOLLIN | EPOLLERR | EPOLLHUP):
            stream_read(r, i)
    if s.end == END_NONE:
        stream_arm(s, r.epoll, IS_STREAM | i)


cdef void streams_resume(Relay r) noexcept nogil:
    """Read again those that were read no more until Python had answered, unless they have become data connections."""
    cdef stream_t *s
    while r.paused_count:
        r.paused_count -= 1
        s = &r.streams[r.paused[r.paused_count]]
        if s.used and s.paused and s.end == END_NONE:
            s.paused = False
            s.again = True
            stream_arm(s, r.epoll, IS_STREAM | r.paused[r.paused_count])


cdef void streams_overdue(
    Relay r, int64_t handshake_us, int64_t message_us, int64_t unallocated_us, int64_t half_closed_us
) noexcept nogil:
    """End those that take too long."""
    cdef uint32_t i
    cdef stream_t *s
    for i in range(r.stream_top):
        s = &r.streams[i]
        if not s.used or s.end != END_NONE:
            continue
        if s.spliced:
            if s.is_peer or not (s.finished or r.streams[s.other].finished):
                continue
            if r.now_us - s.moved_us >= half_closed_us:
                splice_over(r, i, END_HALF_CLOSED)
        elif not s.open:
            if r.now_us - s.since_us >= handshake_us:
                stream_end(r, i, END_HANDSHAKE_TIME)
        elif (not s.heard and r.now_us - s.since_us >= message_us) or (
            s.held_size and r.now_us - s.partial_us >= message_us
        ):
            stream_end(r, i, END_MESSAGE_TIME)
        elif s.allocation == NONE and r.now_us - s.unallocated_us >= unallocated_us:
            stream_end(r, i, END_UNALLOCATED)
