# Owns data connections (RFC 6062 5.4, 5.5): a client's stream and a peer's, whose bytes go across as they are. Calls tables
# and streams.
#
# Nothing is dropped, since it is TCP: an end is read only while nothing waits to be written to the other, and while the
# allocation's rate allows. What waits is thus one read at most. An end that finishes is told to the other when that has
# all, and the connection is over when both have finished, when one breaks, or with its allocation.


cdef inline uint32_t splice_client(Relay r, uint32_t i) noexcept nogil:
    """The client's end of a data connection, where what both ends share is kept."""
    return r.streams[i].other if r.streams[i].is_peer else i


cdef inline bint splice_readable(Relay r, uint32_t i) noexcept nogil:
    """Whether an end may be read now."""
    cdef stream_t *s = &r.streams[i]
    return not s.finished and not s.throttled and stream_queued(&r.streams[s.other]) == 0


cdef void splice_arm(Relay r, uint32_t i) noexcept nogil:
    """Ask epoll for what one end waits for."""
    cdef stream_t *s = &r.streams[i]
    cdef bint readable = splice_readable(r, i)
    cdef uint32_t wanted = EPOLLIN if readable else 0
    if stream_queued(s) or (readable and s.again) or (r.streams[s.other].finished and not s.told):
        wanted |= EPOLLOUT
    stream_ask(s, r.epoll, IS_STREAM | i, wanted)


cdef void splice_unthrottled(Relay r, uint32_t i) noexcept nogil:
    """Take an end out of those that wait for their rate."""
    cdef uint32_t at
    if not r.streams[i].throttled:
        return
    r.streams[i].throttled = False
    for at in range(r.throttled_count):
        if r.throttled[at] == i:
            r.throttled_count -= 1
            r.throttled[at] = r.throttled[r.throttled_count]
            return


cdef void splice_throttle(Relay r, uint32_t i) noexcept nogil:
    """Read an end no more until the timer comes."""
    if r.throttled_count == 0:
        timer_set(r.timer, THROTTLE_NS)
    r.throttled[r.throttled_count] = i
    r.throttled_count += 1
    r.streams[i].throttled = True
    r.throttles += 1


cdef void splice_timer(Relay r) noexcept nogil:
    """The timer has come: read again what waited for its rate. What still has to wait is noted anew."""
    cdef uint32_t i
    timer_take(r.timer)
    while r.throttled_count:
        r.throttled_count -= 1
        i = r.throttled[r.throttled_count]
        r.streams[i].throttled = False
        splice_arm(r, i)


cdef void splice_over(Relay r, uint32_t i, End why) noexcept nogil:
    """Close both ends of a data connection and tell Python. An end that has not got all, or of which the other broke, is
    cut off, so that what it got is not taken for whole."""
    cdef uint32_t client = splice_client(r, i)
    cdef uint32_t peer = r.streams[client].other
    cdef stream_t *c = &r.streams[client]
    cdef stream_t *p = &r.streams[peer]
    if c.before != NONE:
        r.streams[c.before].after = c.after
    else:
        r.allocations[c.owner].splices = c.after
    if c.after != NONE:
        r.streams[c.after].before = c.before
    splice_unthrottled(r, client)
    splice_unthrottled(r, peer)
    if why == END_BROKEN or stream_queued(c):
        stream_abort(c)
    if why == END_BROKEN or stream_queued(p):
        stream_abort(p)
    stream_close(p)
    stream_give(r, peer)
    stream_close(c)
    c.other = c.owner = c.before = c.after = NONE
    r.splice_live -= 1
    stream_tell(r, client, why)


cdef int splice_tell(Relay r, uint32_t i) noexcept nogil:
    """Tell an end that has all that the other has finished. Less than 0: the connection is over."""
    cdef stream_t *s = &r.streams[i]
    cdef int done
    if s.told or not r.streams[s.other].finished or stream_queued(s):
        return 0
    done = stream_finish(s)
    if done < 0:
        splice_over(r, i, END_BROKEN)
        return -1
    s.told = done
    if s.told and r.streams[s.other].told:
        splice_over(r, i, END_FINISHED)
        return -1
    return 0


cdef int splice_put(Relay r, uint32_t i, const uint8_t *data, uint32_t size) noexcept nogil:
    """Bytes that came from an end, for the other. Less than 0: the connection is over."""
    cdef stream_t *s = &r.streams[i]
    cdef stream_t *c = &r.streams[splice_client(r, i)]
    cdef Allocation *a = &r.allocations[c.owner]
    c.moved_us = r.now_us
    if s.is_peer:
        bucket_spend(&a.down, size, r.now_ns)
        a.bytes_out += size
        c.bytes_out += size
        r.spliced_out += size
        r.stream_bytes_out += size
    else:
        bucket_spend(&a.up, size, r.now_ns)
        a.bytes_in += size
        c.bytes_in += size
        r.spliced_in += size
    if stream_put(&r.streams[s.other], data, size) < 0:
        splice_over(r, i, END_BROKEN)
        return -1
    return 0


cdef int splice_read(Relay r, uint32_t i) noexcept nogil:
    """Take what came from an end across. Less than 0: the connection is over."""
    cdef stream_t *s = &r.streams[i]
    cdef stream_t *c = &r.streams[splice_client(r, i)]
    cdef bucket_t *bucket = &r.allocations[c.owner].down if s.is_peer else &r.allocations[c.owner].up
    cdef uint32_t room = bucket_room(bucket, SPLICE_BYTES, r.now_ns)
    cdef uint32_t got
    cdef int ended = 0
    if room == 0 or room < bucket_burst(bucket, SPLICE_LEAST):   # else it would be read by drops
        splice_throttle(r, i)
        return 0
    got = stream_receive(s, r.stream_in, room, &ended)
    if not s.is_peer:
        r.stream_bytes_in += got
    if got and splice_put(r, i, r.stream_in, got) < 0:
        return -1
    if ended < 0:
        splice_over(r, i, END_BROKEN)
        return -1
    if ended:
        s.finished = True
        c.moved_us = r.now_us
        return splice_tell(r, s.other)
    return 0


cdef void splice_event(Relay r, uint32_t i, uint32_t events) noexcept nogil:
    """Do what can be done with an end of a data connection now."""
    cdef stream_t *s = &r.streams[i]
    cdef uint32_t other = s.other
    if stream_queued(s) and stream_flush(s) < 0:
        splice_over(r, i, END_BROKEN)
        return
    if splice_tell(r, i) < 0:
        return
    if splice_readable(r, i):
        if (s.again or events & (EPOLLIN | EPOLLERR | EPOLLHUP)) and splice_read(r, i) < 0:
            return
    elif events & EPOLLERR and not (s.finished and s.told):
        splice_over(r, i, END_BROKEN)
        return
    elif events & (EPOLLERR | EPOLLHUP):
        stream_leave(s, r.epoll)
    splice_arm(r, i)
    splice_arm(r, other)


cdef void splice_made(Relay r, uint32_t client, uint32_t peer, uint32_t owner) noexcept nogil:
    """Join a client's stream and a peer's. What the client said since it asked for that is for the peer."""
    cdef stream_t *c = &r.streams[client]
    cdef stream_t *p = &r.streams[peer]
    cdef Allocation *a = &r.allocations[owner]
    c.spliced = p.spliced = p.is_peer = True
    c.paused = False
    c.other, p.other = peer, client
    c.owner = owner
    c.after = a.splices
    if c.after != NONE:
        r.streams[c.after].before = client
    a.splices = client
    c.moved_us = r.now_us
    c.again = True   # TLS may have more than was looked at
    r.splices += 1
    r.splice_live += 1
    if c.held_size and splice_put(r, client, c.held, c.held_size) < 0:
        return
    stream_hold_nothing(c)
    splice_arm(r, client)
    splice_arm(r, peer)
