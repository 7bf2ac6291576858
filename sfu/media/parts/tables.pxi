# Owns the tables' free lists, the events and the drop counters; calls no other part.


cdef inline uint64_t handle_of(uint32_t index, uint32_t generation) noexcept nogil:
    return (<uint64_t> generation << 32) | index


cdef inline int drop(Engine e, Drop reason) noexcept nogil:
    e.drops[<int> reason] += 1
    return -1 - <int> reason


cdef int event_push(Engine e, Event kind, uint64_t handle, int64_t value) noexcept nogil:
    """0, or a negative reason when the list is full: the caller must try again later."""
    cdef EventRecord *record
    if e.event_count == e.events_max:
        return drop(e, DROP_EVENT)
    record = &e.events[e.event_count]
    record.kind = <uint32_t> kind
    record.handle = handle
    record.value = value
    e.event_count += 1
    return 0


cdef uint32_t path_take(Engine e) noexcept nogil:
    cdef uint32_t i = e.path_free
    if i != NONE:
        e.path_free = e.paths[i].next
    elif e.path_top < e.paths_max:
        i = e.path_top
        e.path_top += 1
    else:
        return NONE
    memset(&e.paths[i], 0, sizeof(Path))
    e.paths[i].used = True
    e.path_live += 1
    return i


cdef void path_give(Engine e, uint32_t i) noexcept nogil:
    e.paths[i].used = False
    e.paths[i].next = e.path_free
    e.path_free = i
    e.path_live -= 1


cdef uint32_t source_take(Engine e) noexcept nogil:
    cdef uint32_t generation
    cdef uint32_t i = e.source_free
    if i != NONE:
        e.source_free = e.sources[i].next_free
    elif e.source_top < e.sources_max:
        i = e.source_top
        e.source_top += 1
    else:
        return NONE
    generation = e.sources[i].generation
    memset(&e.sources[i], 0, sizeof(Source))
    cache_init(&e.sources[i].cache, INDEX_VIDEO)
    e.sources[i].generation = generation + 1
    e.sources[i].used = True
    e.source_live += 1
    return i


cdef void source_give(Engine e, uint32_t i) noexcept nogil:
    e.sources[i].used = False
    e.sources[i].next_free = e.source_free
    e.source_free = i
    e.source_live -= 1


cdef uint32_t peer_take(Engine e) noexcept nogil:
    cdef uint32_t generation
    cdef uint32_t i = e.peer_free
    if i != NONE:
        e.peer_free = e.peers[i].next_free
    elif e.peer_top < e.peers_max:
        i = e.peer_top
        e.peer_top += 1
    else:
        return NONE
    generation = e.peers[i].generation
    memset(&e.peers[i], 0, sizeof(Peer))
    e.peers[i].generation = generation + 1
    e.peers[i].used = True
    e.peer_live += 1
    return i


cdef void peer_give(Engine e, uint32_t i) noexcept nogil:
    e.peers[i].used = False
    e.peers[i].next_free = e.peer_free
    e.peer_free = i
    e.peer_live -= 1


cdef uint32_t track_take(Engine e) noexcept nogil:
    cdef uint32_t generation
    cdef uint32_t i = e.track_free
    if i != NONE:
        e.track_free = e.tracks[i].next_free
    elif e.track_top < e.tracks_max:
        i = e.track_top
        e.track_top += 1
    else:
        return NONE
    generation = e.tracks[i].generation
    memset(&e.tracks[i], 0, sizeof(Track))
    e.tracks[i].generation = generation + 1
    e.tracks[i].used = True
    e.track_live += 1
    return i


cdef void track_give(Engine e, uint32_t i) noexcept nogil:
    e.tracks[i].used = False
    e.tracks[i].next_free = e.track_free
    e.track_free = i
    e.track_live -= 1


cdef uint32_t egress_take(Engine e) noexcept nogil:
    cdef uint32_t generation
    cdef uint32_t i = e.egress_free
    if i != NONE:
        e.egress_free = e.egress[i].next_free
    elif e.egress_top < e.egress_max:
        i = e.egress_top
        e.egress_top += 1
    else:
        return NONE
    generation = e.egress[i].generation
    memset(&e.egress[i], 0, sizeof(Egress))
    e.egress[i].generation = generation + 1
    e.egress[i].used = True
    e.egress_live += 1
    return i


cdef void egress_give(Engine e, uint32_t i) noexcept nogil:
    e.egress[i].used = False
    e.egress[i].next_free = e.egress_free
    e.egress_free = i
    e.egress_live -= 1
