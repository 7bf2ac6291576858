# Owns allocations, permissions and channels, their free lists and indexes, and the drop counters; of the other parts calls stream_freed and splice_over alone.

DROP_NAMES = (
    "strange",
    "bad_stun",
    "control_size",
    "control_flood",
    "no_allocation",
    "bad_channel_data",
    "unbound",
    "bad_send",
    "fingerprint",
    "unknown_attribute",
    "no_family",
    "no_permission",
    "port",
    "rate",
    "peer_no_permission",
    "peer_port",
    "peer_rate",
    "too_long",
    "no_path",
    "icmp",
    "write_queue",
)


cdef inline uint64_t handle_of(uint32_t index, uint32_t generation) noexcept nogil:
    return (<uint64_t> generation << 32) | index


cdef inline int drop(Relay r, Drop reason) noexcept nogil:
    r.drops[<int> reason] += 1
    return -1 - <int> reason


cdef inline int drop_of(Relay r, Allocation *a, Drop reason) noexcept nogil:
    a.dropped += 1
    return drop(r, reason)


cdef inline uint64_t owned_key(const hash_t *table, uint32_t owner, const uint8_t *data, uint32_t size) noexcept nogil:
    """The key of something that an allocation owns: the table's seed is in both halves."""
    return hash_bytes(table, data, size) ^ hash_mix(owner + 1)


# allocations


cdef inline uint64_t path_hash(Relay r, uint32_t listener, const uint8_t *path) noexcept nogil:
    """A path has no port of ours: a client with one socket may have an allocation by each listener."""
    return hash_bytes(&r.by_path, path, BATCH_PATH) ^ r.listeners[listener].mark


cdef inline uint32_t allocation_find(Relay r, uint32_t listener, const uint8_t *path) noexcept nogil:
    """The allocation of the client on this path to this listener, or NONE."""
    cdef uint32_t i = hash_find(&r.by_path, path_hash(r, listener, path))
    if i != NONE and (r.allocations[i].listener != listener or memcmp(r.allocations[i].path, path, BATCH_PATH) != 0):
        return NONE
    return i


cdef uint32_t allocation_take(Relay r) noexcept nogil:
    cdef uint32_t generation
    cdef uint32_t i = r.allocation_free
    if i != NONE:
        r.allocation_free = r.allocations[i].next_free
    elif r.allocation_top < r.allocations_max:
        i = r.allocation_top
        r.allocation_top += 1
    else:
        return NONE
    generation = r.allocations[i].generation
    memset(&r.allocations[i], 0, sizeof(Allocation))
    r.allocations[i].generation = generation + 1
    r.allocations[i].used = True
    r.allocations[i].permissions = r.allocations[i].channels = r.allocations[i].first = r.allocations[i].splices = NONE
    r.allocations[i].listener = r.allocations[i].stream = NONE
    r.allocations[i].sockets[0].fd = r.allocations[i].sockets[1].fd = -1
    r.allocation_live += 1
    return i


cdef inline void allocation_rates(Allocation *a, uint64_t packets_per_s, uint64_t bytes_per_s) noexcept nogil:
    a.up.packets_per_s = a.down.packets_per_s = packets_per_s
    a.up.bytes_per_s = a.down.bytes_per_s = bytes_per_s
    a.icmp.packets_per_s = ICMP_PER_S


cdef void allocation_give(Relay r, uint32_t i) noexcept nogil:
    r.allocations[i].used = False
    r.allocations[i].next_free = r.allocation_free
    r.allocation_free = i
    r.allocation_live -= 1


cdef void socket_close(Relay r, Allocation *a, uint32_t side) noexcept nogil:
    if a.sockets[side].fd >= 0:
        epoll_ctl(r.epoll, EPOLL_CTL_DEL, a.sockets[side].fd, NULL)
        r.lost += socket_lost(a.sockets[side].fd)
        close(a.sockets[side].fd)
        a.sockets[side].fd = -1
        r.socket_live -= 1


cdef uint64_t lost_by_open_sockets(Relay r) noexcept nogil:
    """Datagrams that the queues of all sockets have lost: a system call for each."""
    cdef uint32_t i, side
    cdef uint64_t lost = 0
    for i in range(r.listeners_max):
        if r.listeners[i].used:
            lost += socket_lost(r.listeners[i].fd)
    for i in range(r.allocation_top):
        for side in range(2):
            if r.allocations[i].used and r.allocations[i].sockets[side].fd >= 0:
                lost += socket_lost(r.allocations[i].sockets[side].fd)
    return lost


cdef void allocation_drop(Relay r, uint32_t index) noexcept nogil:
    cdef Allocation *a = &r.allocations[index]
    while a.splices != NONE:
        splice_over(r, a.splices, END_ALLOCATION)
    while a.channels != NONE:
        channel_remove(r, index, &a.channels)
    while a.permissions != NONE:
        permission_remove(r, index, &a.permissions)
    socket_close(r, a, 0)
    socket_close(r, a, 1)
    if a.stream == NONE:
        hash_delete(&r.by_path, a.hash)
    else:
        stream_freed(r, a.stream)
    allocation_give(r, index)


# permissions


cdef inline uint32_t permission_find(Relay r, uint32_t owner, const uint8_t *ip) noexcept nogil:
    """The permission of an allocation for an address, alive or not, or NONE. The hash alone may name another's."""
    cdef uint64_t key = owned_key(&r.by_ip, owner, ip, 16)
    cdef uint32_t i = hash_find(&r.by_ip, key)
    if i != NONE and (r.permissions[i].owner != owner or memcmp(r.permissions[i].ip, ip, 16) != 0):
        return NONE
    return i


cdef void permission_remove(Relay r, uint32_t owner, uint32_t *link) noexcept nogil:
    """Take out the permission that `link`, in the list of its allocation, names."""
    cdef uint32_t i = link[0]
    link[0] = r.permissions[i].next
    hash_delete(&r.by_ip, r.permissions[i].hash)
    r.permissions[i].next = r.permission_free
    r.permission_free = i
    r.permission_live -= 1
    r.allocations[owner].permission_count -= 1


# channels


cdef inline uint64_t channel_key(uint32_t owner, uint16_t number) noexcept nogil:
    return <uint64_t> owner << 16 | number


cdef inline uint32_t channel_of_peer(Relay r, uint32_t owner, const uint8_t *peer) noexcept nogil:
    """The channel that an allocation has bound to a peer, alive or not, or NONE."""
    cdef uint64_t key = owned_key(&r.by_peer, owner, peer, FRAME_PEER)
    cdef uint32_t i = hash_find(&r.by_peer, key)
    if i != NONE and (r.channels[i].owner != owner or memcmp(r.channels[i].peer, peer, FRAME_PEER) != 0):
        return NONE
    return i


cdef void channel_remove(Relay r, uint32_t owner, uint32_t *link) noexcept nogil:
    """Take out the channel that `link`, in the list of its allocation, names."""
    cdef uint32_t i = link[0]
    cdef Channel *c = &r.channels[i]
    link[0] = c.next
    hash_delete(&r.by_channel, channel_key(owner, c.number))
    hash_delete(&r.by_peer, c.hash)
    r.permissions[c.permission].channels -= 1
    c.next = r.channel_free
    r.channel_free = i
    r.channel_live -= 1
    r.allocations[owner].channel_count -= 1


cdef void channel_unbind(Relay r, uint32_t owner, uint32_t index) noexcept nogil:
    cdef uint32_t *link = &r.allocations[owner].channels
    while link[0] != index:
        link = &r.channels[link[0]].next
    channel_remove(r, owner, link)


cdef void sweep(Relay r, uint32_t owner) noexcept nogil:
    """Take out what is over of one allocation: channels first, since they hold permissions."""
    cdef uint32_t *link = &r.allocations[owner].channels
    while link[0] != NONE:
        if r.channels[link[0]].until_us <= r.now_us:
            channel_remove(r, owner, link)
        else:
            link = &r.channels[link[0]].next
    link = &r.allocations[owner].permissions
    while link[0] != NONE:
        if r.permissions[link[0]].until_us <= r.now_us and r.permissions[link[0]].channels == 0:
            permission_remove(r, owner, link)
        else:
            link = &r.permissions[link[0]].next


cdef inline bint tables_have_room(Relay r, uint32_t permissions, uint32_t channels) noexcept nogil:
    return permissions <= r.permissions_max - r.permission_live and channels <= r.channels_max - r.channel_live


cdef void make_room(Relay r, uint32_t owner, uint32_t permissions, uint32_t channels) noexcept nogil:
    """Before an allocation gets so many more: take out what is over of it and, if a table has no room then, of all
    allocations, at most once in SWEEP_US."""
    cdef uint32_t i
    sweep(r, owner)
    if tables_have_room(r, permissions, channels) or r.now_us - r.swept_us < SWEEP_US:
        return
    r.swept_us = r.now_us
    for i in range(r.allocation_top):
        if r.allocations[i].used:
            sweep(r, i)


cdef uint32_t permission_put(Relay r, uint32_t owner, const uint8_t *ip) noexcept nogil:
    """A permission that is not there yet; NONE at a bound, or without memory."""
    cdef Allocation *a = &r.allocations[owner]
    cdef uint64_t key = owned_key(&r.by_ip, owner, ip, 16)
    cdef uint32_t i
    if a.permission_count >= r.permissions_each or hash_find(&r.by_ip, key) != NONE:
        return NONE   # the latter: one chance in 2**64 that another has this hash
    i = r.permission_free
    if i == NONE:
        if r.permission_top == r.permissions_max:
            return NONE
        i = r.permission_top
    if hash_put(&r.by_ip, key, i) < 0:
        return NONE
    if i == r.permission_free:
        r.permission_free = r.permissions[i].next
    else:
        r.permission_top += 1
    memset(&r.permissions[i], 0, sizeof(Permission))
    memcpy(r.permissions[i].ip, ip, 16)
    r.permissions[i].owner = owner
    r.permissions[i].hash = key
    r.permissions[i].next = a.permissions
    a.permissions = i
    a.permission_count += 1
    r.permission_live += 1
    return i


cdef uint32_t channel_put(Relay r, uint32_t owner, uint16_t number, const uint8_t *peer, uint32_t permission) noexcept nogil:
    """A channel whose number and peer are free; NONE at a bound, or without memory."""
    cdef Allocation *a = &r.allocations[owner]
    cdef uint64_t key = owned_key(&r.by_peer, owner, peer, FRAME_PEER)
    cdef Channel *c
    cdef uint32_t i
    if a.channel_count >= r.channels_each or hash_find(&r.by_peer, key) != NONE:
        return NONE
    i = r.channel_free
    if i == NONE:
        if r.channel_top == r.channels_max:
            return NONE
        i = r.channel_top
    if hash_put(&r.by_peer, key, i) < 0:
        return NONE
    if hash_put(&r.by_channel, channel_key(owner, number), i) < 0:
        hash_delete(&r.by_peer, key)
        return NONE
    c = &r.channels[i]
    if i == r.channel_free:
        r.channel_free = c.next
    else:
        r.channel_top += 1
    memset(c, 0, sizeof(Channel))
    memcpy(c.peer, peer, FRAME_PEER)
    peer_destination(r, &c.to, peer)
    c.owner, c.number, c.permission, c.hash = owner, number, permission, key
    r.permissions[permission].channels += 1
    c.next = a.channels
    a.channels = i
    a.channel_count += 1
    r.channel_live += 1
    return i


cdef void family_drop(Relay r, uint32_t owner, uint32_t side) noexcept nogil:
    """Close the relayed address of one family, with its channels and permissions."""
    cdef Allocation *a = &r.allocations[owner]
    cdef uint32_t *link = &a.channels
    while link[0] != NONE:
        if frame_is_v4(r.channels[link[0]].peer) != (side == 0):
            link = &r.channels[link[0]].next
        else:
            channel_remove(r, owner, link)
    link = &a.permissions
    while link[0] != NONE:
        if frame_is_v4(r.permissions[link[0]].ip) != (side == 0):
            link = &r.permissions[link[0]].next
        else:
            permission_remove(r, owner, link)
    socket_close(r, a, side)


# ports that are open at our own addresses


cdef inline bint port_is_open(Relay r, uint16_t port) noexcept nogil:
    cdef uint32_t i
    for i in range(r.own_count):
        if r.own_low[i] <= port <= r.own_high[i]:
            return True
    return False


cdef inline int permitted(Relay r, uint32_t permission, const uint8_t *peer) noexcept nogil:
    """1 where the peer may send and be sent to, 0 without a permission that lives, -1 at a port that is not open."""
    if permission == NONE or r.permissions[permission].until_us <= r.now_us:
        return 0
    if r.permissions[permission].own_ports and not port_is_open(r, load16(peer + 16)):
        return -1
    return 1


# addresses that others are told


cdef void peer_destination(Relay r, batch_destination *to, const uint8_t *peer) noexcept nogil:
    """Where a peer is sent to: for one at an address that others are told of us, where that leads."""
    cdef int family = AF_INET if frame_is_v4(peer) else AF_INET6
    cdef uint16_t port = load16(peer + 16)
    cdef uint8_t local[18]
    cdef uint32_t i
    for i in range(r.told_count):
        if r.told[i].low <= port <= r.told[i].high and memcmp(r.told[i].ip, peer, 16) == 0:
            memcpy(local, r.told[i].local, 16)
            store16(local + 16, r.told[i].local_low + (port - r.told[i].low))
            burst_peer(to, family, local)
            return
    burst_peer(to, family, peer)


cdef inline bint told_of(const Told *t, const uint8_t *local, uint8_t *peer) noexcept nogil:
    """Whether a peer's address, as it is seen, is told as one of these; `peer` is which."""
    cdef uint32_t port = load16(local + 16)
    if port < t.local_low or port - t.local_low > t.high - t.low or memcmp(t.local, local, 16) != 0:
        return False
    memcpy(peer, t.ip, 16)
    store16(peer + 16, t.low + (port - t.local_low))
    return True


cdef int peer_as_seen(Relay r, uint32_t owner, const uint8_t *peer, uint32_t *channel) noexcept nogil:
    """As `permitted`, and the peer's `channel` or NONE."""
    cdef uint32_t permission
    channel[0] = NONE
    if r.allocations[owner].channels != NONE:
        channel[0] = channel_of_peer(r, owner, peer)
    if channel[0] != NONE:
        permission = r.channels[channel[0]].permission
        if r.channels[channel[0]].until_us <= r.now_us:
            channel[0] = NONE
    else:
        permission = permission_find(r, owner, peer)
    return permitted(r, permission, peer)


cdef int peer_allowed(Relay r, uint32_t owner, uint8_t *peer, uint32_t *channel) noexcept nogil:
    """As `peer_as_seen`; who is nobody under the address that is seen may be known by one that others are told, which
    `peer` becomes then."""
    cdef uint8_t told[18]
    cdef uint32_t i
    cdef int allowed = peer_as_seen(r, owner, peer, channel)
    for i in range(r.told_count):
        if allowed > 0:
            break
        if told_of(&r.told[i], peer, told) and peer_as_seen(r, owner, told, channel) > 0:
            memcpy(peer, told, FRAME_PEER)
            return 1
    return allowed
