# Owns the packets that wait to be forwarded, and whose turn it is. Calls egress (egress_packet) and cache.
#
# What came for a track waits on its list; tracks with a list stand in a queue, one for audio and one for
# video. A track is served as a run: all that waits at its start, for one subscription after the other, so
# that what goes to one address stands together. A run may stop at the end of any subscription and go on
# later, which is what bounds the time that the loop is held; audio goes first at each such moment.
#
#   media_in -> [p1 p2 p3 | p4 ..]     queue -> track -> run p1..p3: route, route, <cursor> route, route
#
# A waiting packet's bytes lie in the cache. They may be gone from there when its turn comes: it is dropped
# then. What found no room in the cache lies in its receive slot and is served before the next receive, or
# given up.


cdef uint32_t packet_take(Engine e) noexcept nogil:
    """A free packet, if need be one of those with which video waits longest. NONE: there is none."""
    cdef uint32_t i = e.packet_free
    if i == NONE and e.packet_top == e.packets_max:
        if e.queue_first[1] != NONE:
            track_shed(e, e.queue_first[1])
        i = e.packet_free
    if i != NONE:
        e.packet_free = e.packets[i].next
    elif e.packet_top < e.packets_max:
        i = e.packet_top
        e.packet_top += 1
    else:
        return NONE
    e.packet_live += 1
    return i


cdef void packet_give(Engine e, uint32_t i) noexcept nogil:
    e.packets[i].next = e.packet_free
    e.packet_free = i
    e.packet_live -= 1


cdef int track_wait(Engine e, uint32_t index, const Packet *arrived, int64_t now_us) noexcept nogil:
    """Put a packet on its track's list, and the track into its queue. 0, or a negative reason."""
    cdef Track *t = &e.tracks[index]
    cdef uint32_t i = packet_take(e)
    if i == NONE:
        return drop(e, DROP_OVERLOAD)
    e.packets[i] = arrived[0]
    e.packets[i].waits_since_us = now_us
    e.packets[i].next = NONE
    if t.waiting_first == NONE:
        t.waiting_first = i
        queue_push(e, index)
    else:
        e.packets[t.waiting_last].next = i
    t.waiting_last = i
    return 0


cdef void queue_push(Engine e, uint32_t index) noexcept nogil:
    cdef Track *t = &e.tracks[index]
    cdef bint video = t.video
    t.queue_next = NONE
    t.queue_previous = e.queue_last[video]
    if e.queue_last[video] == NONE:
        e.queue_first[video] = index
    else:
        e.tracks[e.queue_last[video]].queue_next = index
    e.queue_last[video] = index


cdef void queue_remove(Engine e, uint32_t index) noexcept nogil:
    cdef Track *t = &e.tracks[index]
    cdef bint video = t.video
    if t.queue_previous == NONE:
        e.queue_first[video] = t.queue_next
    else:
        e.tracks[t.queue_previous].queue_next = t.queue_next
    if t.queue_next == NONE:
        e.queue_last[video] = t.queue_previous
    else:
        e.tracks[t.queue_next].queue_previous = t.queue_previous


cdef void track_forget_waiting(Engine e, uint32_t index) noexcept nogil:
    """Nothing waits for the track any more."""
    cdef Track *t = &e.tracks[index]
    cdef uint32_t following
    if t.waiting_first == NONE:
        return
    while t.waiting_first != NONE:
        following = e.packets[t.waiting_first].next
        packet_give(e, t.waiting_first)
        t.waiting_first = following
    t.waiting_last = t.run_last = t.cursor = NONE
    queue_remove(e, index)


cdef void routes_miss(Engine e, uint32_t route) noexcept nogil:
    """The subscriptions from this one of a video track on miss something. They go on at a keyframe, their numbers
    without a gap, so that none of them asks for what was left out."""
    while route != NONE:
        if (route & 1) == e.egress[route >> 1].active:
            e.egress[route >> 1].source = NONE
            e.egress[route >> 1].waiting_us = 0
        route = route_at(e, route).next


cdef void track_shed(Engine e, uint32_t index) noexcept nogil:
    """The node can't keep up: give up what waits for a video track. Who has had all of a run goes on."""
    cdef Track *t = &e.tracks[index]
    cdef uint32_t i = t.waiting_first
    while i != NONE:
        drop(e, DROP_OVERLOAD)
        i = e.packets[i].next
    routes_miss(e, t.cursor if t.run_last != NONE and t.run_last == t.waiting_last else t.routes)
    track_forget_waiting(e, index)
    e.shed += 1


cdef void run_check(Engine e, const Track *t) noexcept nogil:
    """Mark the packets of a run whose bytes have left the cache since."""
    cdef uint32_t i = t.waiting_first
    cdef bint some = False
    cdef Packet *p
    while True:
        p = &e.packets[i]
        if p.kept and not p.gone and e.pool.epoch[p.block] != p.epoch:
            p.gone = some = True
            drop(e, DROP_OVERLOAD)
        if i == t.run_last:
            break
        i = p.next
    if some and t.video:
        routes_miss(e, t.cursor)


cdef void run_end(Engine e, uint32_t index) noexcept nogil:
    """All subscriptions have had the run's packets; what came meanwhile waits at the queue's end."""
    cdef Track *t = &e.tracks[index]
    cdef uint32_t i = t.waiting_first
    cdef uint32_t following
    while True:
        following = e.packets[i].next
        packet_give(e, i)
        if i == t.run_last:
            break
        i = following
    t.waiting_first = following
    t.run_last = t.cursor = NONE
    queue_remove(e, index)
    if following == NONE:
        t.waiting_last = NONE
    else:
        queue_push(e, index)


cdef void route_serve(Engine e, uint32_t route, uint32_t track, int64_t now_us) noexcept nogil:
    """Give one subscription its share of a run."""
    cdef Track *t = &e.tracks[track]
    cdef Egress *g = &e.egress[route >> 1]
    cdef uint32_t i = t.waiting_first
    while route_at(e, route).track == track:   # a switch may end the route
        if not e.packets[i].gone:
            egress_packet(e, route >> 1, route & 1, &e.packets[i], now_us)
        if i == t.run_last:
            break
        i = e.packets[i].next
    if g.waiting_us == now_us and g.layer < LAYERS and t.layer[g.layer] != NONE:
        source_want(e, t.layer[g.layer])


cdef bint track_serve(Engine e, uint32_t track, int64_t now_us, int64_t until_ns) noexcept nogil:
    """Begin a track's run, or go on with it. False when the time was over before its end."""
    cdef Track *t = &e.tracks[track]
    cdef uint64_t looked = e.forwarded
    cdef uint32_t route
    if t.run_last == NONE:
        t.run_last = t.waiting_last
        t.cursor = t.routes
    run_check(e, t)
    while t.cursor != NONE:
        if e.forwarded - looked >= CLOCK_PACKETS:
            looked = e.forwarded
            if batch_clock_ns() >= until_ns or (t.video and e.io.out.blocked):
                return False
        route = t.cursor
        t.cursor = route_at(e, route).next
        if egress_can_send(e, &e.egress[route >> 1]):
            route_serve(e, route, track, now_us)
    run_end(e, track)
    return True


cdef void shed_overdue(Engine e, int64_t now_us) noexcept nogil:
    """Give up the video that has waited too long."""
    cdef uint32_t track = e.queue_first[1]
    cdef uint32_t following
    while track != NONE:
        following = e.tracks[track].queue_next
        if now_us - e.packets[e.tracks[track].waiting_first].waits_since_us > e.overload_us:
            track_shed(e, track)
        track = following


cdef bint fan_out(Engine e, int64_t now_us, int64_t until_ns) noexcept nogil:
    """Forward what waits, audio first, until that moment (batch_clock_ns). False when something still waits."""
    cdef uint32_t track
    shed_overdue(e, now_us)
    while True:
        track = e.queue_first[0] if e.queue_first[0] != NONE else e.queue_first[1]
        if track == NONE:
            return True
        if e.tracks[track].video and e.io.out.blocked:
            return False   # it would only push other video out of the full queue
        if not track_serve(e, track, now_us, until_ns):
            queue_remove(e, track)   # another's turn when it goes on
            queue_push(e, track)
            return False
        if batch_clock_ns() >= until_ns:
            return e.queue_first[0] == NONE and e.queue_first[1] == NONE


cdef void fan_out_unkept(Engine e, int64_t now_us, int64_t until_ns) noexcept nogil:
    """Forward what lies in receive slots, since those are about to be used again: audio whatever it takes, video
    until that moment, or until the socket is full. What is left of video can't wait and is given up."""
    cdef int64_t never_ns = <int64_t> 1 << 62
    cdef bint over = False
    cdef uint32_t i, track
    for i in range(e.unkept_count):
        track = e.unkept[i]
        while not e.tracks[track].video and e.tracks[track].waiting_first != NONE:
            track_serve(e, track, now_us, never_ns)
    for i in range(e.unkept_count):
        track = e.unkept[i]
        while e.tracks[track].waiting_first != NONE:
            if over:
                track_shed(e, track)
            else:
                over = not track_serve(e, track, now_us, until_ns) or batch_clock_ns() >= until_ns
    e.unkept_count = 0
