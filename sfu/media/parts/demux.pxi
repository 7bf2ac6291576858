# Owns nothing: tells what a datagram is and whose (RFC 7983). Calls track (media) and rtcp_in.


cdef inline bint stun_shaped(const uint8_t *data, uint32_t size) noexcept nogil:
    """RFC 8489 5: header, length and magic cookie; the rest is the transport layer's."""
    return size >= 20 and load16(data + 2) == size - 20 and size % 4 == 0 and load32(data + 4) == 0x2112A442


cdef inline uint32_t path_find(Engine e, const uint8_t *key) noexcept nogil:
    """The path with these 38 bytes, or NONE."""
    cdef uint32_t i = hash_find(&e.by_path, hash_bytes(&e.by_path, key, BATCH_PATH))
    if i != NONE and memcmp(e.paths[i].key, key, BATCH_PATH) != 0:
        return NONE
    return i


cdef int datagram_in(Engine e, uint32_t slot_index, int64_t now_us, uint32_t *path_index) noexcept nogil:
    """Take in one datagram. 1 for STUN and 2 for DTLS that are to be handed up, else 0 or less."""
    cdef batch_slot_t *slot = &e.io.slots[slot_index]
    cdef uint8_t first
    cdef uint32_t i = path_find(e, slot.path)
    path_index[0] = i
    if slot.size == 0:
        return drop(e, DROP_NOT_WEBRTC)
    first = slot.data[0]
    if 128 <= first <= 191:
        if i == NONE or e.paths[i].peer == NONE:
            return drop(e, DROP_UNKNOWN_PATH)
        if slot.size > MEDIA_MAX:
            return drop(e, DROP_OVERSIZE)
        if slot.size >= 2 and 192 <= slot.data[1] <= 223:
            return rtcp_in(e, i, slot.data, slot.size, now_us)
        return rtp_in(e, i, slot_index, now_us)
    if first <= 3:
        if not stun_shaped(slot.data, slot.size):
            return drop(e, DROP_BAD_STUN)
        e.stun_in += 1
        return 1
    if 20 <= first <= 63:
        if i == NONE or (e.paths[i].peer == NONE and e.paths[i].until_us < now_us):
            return drop(e, DROP_UNKNOWN_PATH)
        e.dtls_in += 1
        return 2
    return drop(e, DROP_NOT_WEBRTC)
