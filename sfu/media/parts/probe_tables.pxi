# For tests alone: whether the tables agree with each other. Calls no other part, changes nothing.


def probe_tables(Engine e not None):
    """What does not fit together in the tables, in words; the index is all that says where an entry is, so
    no sanitizer sees one that is wrong."""
    cdef uint32_t i, k, n, layer
    cdef uint32_t deferred = 0
    cdef uint32_t expected = 0
    cdef uint32_t waiting = 0
    cdef uint32_t missing = 0
    cdef uint32_t blocks = 0
    cdef uint32_t used[5]
    cdef Peer *p
    cdef Track *t
    cdef Egress *g
    cdef Source *s
    out = []
    memset(used, 0, sizeof(used))
    for i in range(e.path_top):
        if not e.paths[i].used:
            continue
        used[0] += 1
        expected += e.paths[i].peer == NONE
        if hash_find(&e.by_path, e.paths[i].hash) != i:
            out.append(f"path {i} is not in its table")
    for i in range(e.peer_top):
        p = &e.peers[i]
        if not p.used:
            continue
        used[1] += 1
        n = 0
        k = p.paths
        while k != NONE and n <= e.paths_max:
            if not e.paths[k].used or e.paths[k].peer != i:
                out.append(f"path {k} of peer {i} is another's")
            n += 1
            k = e.paths[k].next
        if n != p.path_count or n > e.paths_per_peer:
            out.append(f"peer {i} has {n} paths, says {p.path_count}")
        if p.selected != NONE and (not e.paths[p.selected].used or e.paths[p.selected].peer != i):
            out.append(f"peer {i} has selected another's path")
        n = 0
        k = p.sources
        while k != NONE and n <= e.sources_max:
            s = &e.sources[k]
            if not s.used or s.peer != i or hash_find(&e.by_ssrc, ssrc_key(i, s.ssrc)) != k:
                out.append(f"source {k} of peer {i} is another's or not in its table")
            if s.track != NONE and (not e.tracks[s.track].used or e.tracks[s.track].peer != i):
                out.append(f"source {k} is of a track that is gone or another's")
            n += 1
            k = s.next
        if n != p.source_count:
            out.append(f"peer {i} has {n} sources, says {p.source_count}")
        if p.streams > e.streams_per_peer:
            out.append(f"peer {i} has {p.streams} streams")
        n = 0
        k = p.tracks
        while k != NONE and n <= e.tracks_max:
            if not e.tracks[k].used or e.tracks[k].peer != i:
                out.append(f"track {k} of peer {i} is another's")
            n += 1
            k = e.tracks[k].next
        n = 0
        k = p.egress
        while k != NONE and n <= e.egress_max:
            g = &e.egress[k]
            if not g.used or g.peer != i or hash_find(&e.by_egress, ssrc_key(i, g.ssrc)) != k:
                out.append(f"egress {k} of peer {i} is another's or not in its table")
            n += 1
            k = g.next
    for i in range(e.track_top):
        t = &e.tracks[i]
        if not t.used:
            continue
        used[2] += 1
        n = 0
        k = t.waiting_first
        while k != NONE and n <= e.packets_max:
            n += 1
            if e.packets[k].next == NONE and k != t.waiting_last:
                out.append(f"the packets that wait for track {i} have another end")
            k = e.packets[k].next
        waiting += n
        if (t.run_last == NONE and t.cursor != NONE) or (n == 0 and t.run_last != NONE):
            out.append(f"track {i} is being served without a run")
        if t.cursor != NONE and route_at(e, t.cursor).track != i:
            out.append(f"the cursor of track {i} is another's route")
        for layer in range(LAYERS):
            for k in (t.layer[layer], t.rtx[layer]):
                if k != NONE and (not e.sources[k].used or e.sources[k].track != i or e.sources[k].layer != layer):
                    out.append(f"layer {layer} of track {i} goes by source {k}, which is not its")
        n = 0
        k = t.routes
        while k != NONE and n <= 2 * e.egress_max:
            if not e.egress[k >> 1].used or route_at(e, k).track != i:
                out.append(f"route {k} of track {i} is another's")
            if route_at(e, k).next != NONE and route_at(e, route_at(e, k).next).previous != k:
                out.append(f"route {k} of track {i} is not the one before its next")
            n += 1
            k = route_at(e, k).next
        if n > 2 * e.egress_max:
            out.append(f"the routes of track {i} go round")
    for i in range(e.egress_top):
        g = &e.egress[i]
        if not g.used:
            continue
        used[3] += 1
        deferred += g.pli_deferred
        for k in range(2):
            if g.route[k].track != NONE and not e.tracks[g.route[k].track].used:
                out.append(f"egress {i} takes a track that is gone")
        if g.pending and g.route[1 - g.active].track == NONE:
            out.append(f"egress {i} waits for no track")
        if g.map.count > SEQMAP_PIECES:
            out.append(f"egress {i} has {g.map.count} pieces")
    for i in range(e.source_top):
        s = &e.sources[i]
        if not s.used:
            continue
        used[4] += 1
        blocks += s.cache.blocks
        missing += s.missing_count
        n = 0
        k = s.missing if s.missing_count else NONE
        while k != NONE and n <= MISSING_PER_SOURCE:
            if e.missings[k].next != NONE and eseq_diff(e.missings[e.missings[k].next].eseq, e.missings[k].eseq) <= 0:
                out.append(f"the missing numbers of source {i} do not ascend")
            n += 1
            k = e.missings[k].next
        if n != s.missing_count:
            out.append(f"source {i} misses {n} numbers, says {s.missing_count}")
    if (waiting, missing, blocks) != (e.packet_live, e.missing_live, e.pool.taken):
        out.append(f"{waiting} packets wait, {missing} are missing, {blocks} blocks are taken, not as counted")
    if (used[0], used[1], used[2], used[3], used[4]) != (
        e.path_live, e.peer_live, e.track_live, e.egress_live, e.source_live
    ):
        out.append(f"in use: {used[0]}, {used[1]}, {used[2]}, {used[3]}, {used[4]}, not as counted")
    if (e.by_path.count, e.by_ssrc.count, e.by_egress.count) != (e.path_live, e.source_live, e.egress_live):
        out.append("a table of addresses or SSRCs has more or less than there is")
    if expected != e.expected_live or deferred != e.plis_deferred:
        out.append(f"{expected} expected paths, {deferred} deferred requests, not as counted")
    if (e.io.out.queued and not e.io.out.blocked) or e.io.out.taken != NULL:
        out.append("a send slot is taken between calls")
    return out
