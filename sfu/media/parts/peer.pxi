# Owns peers and the table of paths. Calls tables, track and egress when a peer goes.


cdef void path_remove(Engine e, uint32_t index) noexcept nogil:
    """Take a path out of its peer and the table; the peer goes on with its newest other path."""
    cdef Path *path = &e.paths[index]
    cdef Peer *p
    cdef uint32_t *link
    if path.peer == NONE:
        e.expected_live -= 1
    else:
        p = &e.peers[path.peer]
        link = &p.paths
        while link[0] != index:
            link = &e.paths[link[0]].next
        link[0] = path.next
        p.path_count -= 1
        if p.selected == index:
            p.selected = p.paths
            if p.selected != NONE:
                batch_make_destination(&p.to, e.io.family, e.paths[p.selected].key)
    hash_delete(&e.by_path, path.hash)
    path_give(e, index)


cdef uint32_t path_put(Engine e, const uint8_t *key) noexcept nogil:
    """A new path without a peer, in the table; NONE at a bound (or one chance in 2**64: the hash is taken)."""
    cdef uint64_t hashed = hash_bytes(&e.by_path, key, BATCH_PATH)
    cdef uint32_t index
    if hash_find(&e.by_path, hashed) != NONE:
        return NONE
    index = path_take(e)
    if index == NONE:
        return NONE
    memcpy(e.paths[index].key, key, BATCH_PATH)
    e.paths[index].hash = hashed
    e.paths[index].peer = NONE
    if hash_put(&e.by_path, hashed, index) < 0:
        path_give(e, index)
        return NONE
    e.expected_live += 1
    return index


cdef void expected_sweep(Engine e, int64_t now_us) noexcept nogil:
    """Forget expected paths whose time is over and, if there still are too many, the one that ends first."""
    cdef uint32_t i
    cdef uint32_t oldest = NONE
    for i in range(e.path_top):
        if not e.paths[i].used or e.paths[i].peer != NONE:
            continue
        if e.paths[i].until_us < now_us:
            path_remove(e, i)
        elif oldest == NONE or e.paths[i].until_us < e.paths[oldest].until_us:
            oldest = i
    if e.expected_live >= e.expected_max and oldest != NONE:
        path_remove(e, oldest)


cdef uint32_t path_oldest_spare(Engine e, const Peer *p) noexcept nogil:
    """The path of a peer that was allowed first and is not selected, or NONE."""
    cdef uint32_t i = p.paths
    cdef uint32_t found = NONE
    while i != NONE:
        if i != p.selected:
            found = i
        i = e.paths[i].next
    return found


cdef bint path_is_held(Engine e, uint32_t peer, const uint8_t *key, int64_t now_us) noexcept nogil:
    """Whether another peer is heard on the path: it has sent what it alone can seal."""
    cdef uint32_t i = path_find(e, key)
    if i == NONE or e.paths[i].peer == NONE or e.paths[i].peer == peer or e.paths[i].heard_us == 0:
        return False
    return now_us - e.paths[i].heard_us < HELD_US


cdef uint32_t path_allow(Engine e, uint32_t peer, const uint8_t *key) noexcept nogil:
    """Give the path to the peer, taking it from whoever had it. The path, or NONE when the table is full."""
    cdef Peer *p = &e.peers[peer]
    cdef uint32_t index = path_find(e, key)
    if index != NONE and e.paths[index].peer == peer:
        return index
    if index != NONE:
        path_remove(e, index)
    if p.path_count >= e.paths_per_peer:
        path_remove(e, path_oldest_spare(e, p))
    index = path_put(e, key)
    if index == NONE:
        return NONE
    e.expected_live -= 1
    e.paths[index].peer = peer
    e.paths[index].next = p.paths
    p.paths = index
    p.path_count += 1
    if p.selected == NONE:
        path_select(e, peer, index)
    return index


cdef void path_select(Engine e, uint32_t peer, uint32_t index) noexcept nogil:
    e.peers[peer].selected = index
    batch_make_destination(&e.peers[peer].to, e.io.family, e.paths[index].key)


cdef void peer_set_twcc(Engine e, uint32_t peer, bint wanted) noexcept nogil:
    """Record arrivals or not; without memory there is no feedback and the publisher stays slow."""
    cdef Peer *p = &e.peers[peer]
    if wanted and p.twcc == NULL:
        p.twcc = <twcc_t *> malloc(sizeof(twcc_t))
        if p.twcc != NULL:
            memset(p.twcc, 0, sizeof(twcc_t))
    elif not wanted and p.twcc != NULL:
        free(p.twcc)
        p.twcc = NULL


cdef void peer_drop(Engine e, uint32_t index) noexcept nogil:
    cdef Peer *p = &e.peers[index]
    while p.paths != NONE:
        path_remove(e, p.paths)
    while p.egress != NONE:
        egress_drop(e, p.egress)
    p.srtp_in = NULL
    while p.tracks != NONE:
        track_drop(e, p.tracks)
    while p.sources != NONE:
        source_drop(e, p.sources)
    peer_set_twcc(e, index, False)
    evp_sealer_free(&e.evp, &p.sealer)
    peer_give(e, index)
