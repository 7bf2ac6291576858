# Owns parcels and what is handed up: datagrams of clients, on their way to peers. Calls tables.


cdef int hand_up(Relay r, uint32_t listener, const uint8_t *path, const uint8_t *data, uint32_t size, bint known) noexcept nogil:
    """Keep a STUN message for Python. Strangers may fill half of what is handed up, so that clients with an
    allocation always have the other half."""
    cdef Control *c
    if size > (r.known.control if known else r.strange.control):   # CONTROL_MAX at most
        return drop(r, DROP_CONTROL_SIZE)
    if r.control_count == r.controls_max or (not known and r.strange_count >= (r.controls_max + 1) // 2):
        return drop(r, DROP_CONTROL_FLOOD)
    c = &r.controls[r.control_count]
    c.listener = listener
    c.size = size
    memcpy(c.path, path, BATCH_PATH)
    memcpy(c.data, data, size)
    r.control_count += 1
    r.strange_count += not known
    r.control_in += 1
    return 0


cdef int parcel_put(
    Relay r, uint32_t index, const batch_destination *to, const uint8_t *peer, const uint8_t *data, uint32_t size,
    uint8_t traffic, bint dont_fragment,
) noexcept nogil:
    """Last checks of a datagram to a peer that may be sent to; then it waits for its allocation's turn. `to` may be
    NULL: a destination is made of `peer`."""
    cdef Allocation *a = &r.allocations[index]
    cdef uint32_t side = not frame_is_v4(peer)
    cdef Parcel *p
    if a.sockets[side].fd < 0:
        return drop_of(r, a, DROP_NO_FAMILY)
    if not bucket_take(&a.up, size, r.now_ns):
        return drop_of(r, a, DROP_RATE)
    if r.parcel_count == PARCELS:
        parcels_send(r)
    p = &r.parcels[r.parcel_count]
    p.data, p.size, p.side, p.traffic, p.dont_fragment, p.next = data, size, side, traffic, dont_fragment, NONE
    p.to = to
    if to == NULL:
        peer_destination(r, &p.own, peer)
        p.to = &p.own
    if a.first == NONE:
        a.first = r.parcel_count
        r.touched[r.touched_count] = index
        r.touched_count += 1
    else:
        r.parcels[a.last].next = r.parcel_count
    a.last = r.parcel_count
    r.parcel_count += 1
    a.packets_in += 1
    a.bytes_in += size
    return 0


cdef void parcels_send(Relay r) noexcept nogil:
    """Send the parcels, allocation by allocation: those of one to one peer stand together and leave as a row."""
    cdef uint32_t i, at
    cdef Allocation *a
    cdef Parcel *p
    cdef RelaySocket *s
    for i in range(r.touched_count):
        a = &r.allocations[r.touched[i]]
        at = a.first
        a.first = NONE
        while at != NONE:
            p = &r.parcels[at]
            s = &a.sockets[p.side]
            burst_use(&r.up, s.fd)
            if s.dont_fragment != p.dont_fragment:
                burst_flush(&r.up)
                socket_dont_fragment(s.fd, AF_INET6 if p.side else AF_INET, p.dont_fragment)
                s.dont_fragment = p.dont_fragment
            burst_head(&r.up)
            burst_put(&r.up, p.to, not p.side, p.traffic, 0, p.data, p.size, 0)
            at = p.next
    burst_flush(&r.up)   # before the destinations and slots go
    r.touched_count = r.parcel_count = 0


cdef int channel_in(Relay r, uint32_t index, const uint8_t *data, uint32_t size, uint8_t traffic) noexcept nogil:
    """ChannelData (RFC 8656 12.6)."""
    cdef Allocation *a = &r.allocations[index]
    cdef Channel *c
    cdef uint16_t number
    cdef uint32_t i, length
    cdef int allowed
    if frame_channel(data, size, &number, &length) < 0:
        return drop_of(r, a, DROP_BAD_CHANNEL_DATA)
    i = hash_find(&r.by_channel, channel_key(index, number))
    if i == NONE or r.channels[i].until_us <= r.now_us:
        return drop_of(r, a, DROP_UNBOUND)
    c = &r.channels[i]
    allowed = permitted(r, c.permission, c.peer)
    if allowed <= 0:
        return drop_of(r, a, DROP_PORT if allowed else DROP_NO_PERMISSION)
    if parcel_put(r, index, &c.to, c.peer, data + FRAME_CHANNEL_HEAD, length, traffic, False) < 0:
        return -1
    r.channel_in += 1
    return 0


cdef int send_in(Relay r, uint32_t index, const uint8_t *data, uint32_t size, uint8_t traffic) noexcept nogil:
    """A Send indication (RFC 8656 11.2)."""
    cdef Allocation *a = &r.allocations[index]
    cdef frame_send s
    cdef int allowed
    cdef int fault = frame_read_send(&s, data, size, &r.crc)
    if fault == FRAME_BAD_FINGERPRINT:
        return drop_of(r, a, DROP_FINGERPRINT)
    if fault == FRAME_UNKNOWN_ATTRIBUTE:
        return drop_of(r, a, DROP_UNKNOWN_ATTRIBUTE)
    if fault < 0:
        return drop_of(r, a, DROP_BAD_SEND)
    allowed = permitted(r, permission_find(r, index, s.peer), s.peer)
    if allowed <= 0:
        return drop_of(r, a, DROP_PORT if allowed else DROP_NO_PERMISSION)
    if parcel_put(r, index, NULL, s.peer, s.data, s.size, traffic, s.dont_fragment) < 0:
        return -1
    r.send_in += 1
    return 0


cdef int client_datagram(
    Relay r, uint32_t listener, uint32_t index, const uint8_t *path, const uint8_t *data, uint32_t size, uint8_t traffic
) noexcept nogil:
    """One datagram of the client on `path`, whose allocation is `index` or NONE."""
    cdef int kind = frame_kind(data, size)
    r.received += 1
    if kind == FRAME_STUN:
        return hand_up(r, listener, path, data, size, index != NONE)
    if kind == FRAME_CHANNEL or kind == FRAME_SEND:
        if index == NONE:
            return drop(r, DROP_NO_ALLOCATION)
        if kind == FRAME_CHANNEL:
            return channel_in(r, index, data, size, traffic)
        return send_in(r, index, data, size, traffic)
    return drop(r, DROP_BAD_STUN if kind == FRAME_BAD_STUN else DROP_STRANGE)


cdef void listener_read(Relay r, uint32_t listener) noexcept nogil:
    """Take in a batch from clients, and send what of it is for peers."""
    cdef Listener *l = &r.listeners[listener]
    cdef intake_slot *slot
    cdef uint32_t i, at, size, index
    cdef uint32_t count = intake_receive(&r.io, l.fd, 0, l.want, not l.bound)
    l.want = intake_want(l.want, count, INTAKE_SLOTS)
    for i in range(count):
        slot = &r.io.slots[i]
        if not slot.has_path:
            drop(r, DROP_NO_PATH)
            continue
        if l.bound:
            memcpy(slot.path + 18, l.local, 16)
        index = allocation_find(r, listener, slot.path)
        at = 0
        while True:   # once where it is one datagram, of no bytes too
            size = slot.size - at if slot.size - at < slot.segment else slot.segment
            client_datagram(r, listener, index, slot.path, slot.data + at, size, slot.traffic)
            at += size
            if at >= slot.size:
                break
    parcels_send(r)
