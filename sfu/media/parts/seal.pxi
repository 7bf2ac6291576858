# Owns what seals RTP: OpenSSL under AEAD (c/evp.h), libsrtp under AES-CM. Calls no other part.
#
# libsrtp also has all SRTCP and all that comes in. Why two: docs/decisions/0010.


cdef int peer_set_sealer(Engine e, Peer *p, const uint8_t *master, uint32_t size) noexcept nogil:
    """Seal with a master key and salt of `size` bytes, or with libsrtp if that is 0. The indexes of all
    subscriptions begin anew: a receiver takes the first number under new keys for one without roll-overs."""
    cdef uint32_t i = p.egress
    cdef Egress *g
    cdef evp_sealer_t sealer
    memset(&sealer, 0, sizeof(sealer))
    if size != 0 and evp_sealer_init(&e.evp, &sealer, master, size - EVP_SALT) < 0:
        return -1
    evp_sealer_free(&e.evp, &p.sealer)
    p.sealer = sealer
    while i != NONE:
        g = &e.egress[i]
        g.out_index = <uint64_t> ((g.out_eseq + 1) & 0xffff) - 1
        g.rtx_index = ((g.rtx_index + 1) & 0xffff) - 1
        i = g.next
    return 0


cdef inline uint64_t egress_index(const Egress *g, uint32_t number) noexcept nogil:
    """The SRTP index (RFC 3711 3.3.1) of a number near the newest."""
    return g.out_index + <uint64_t> <int64_t> eseq_diff(number, g.out_eseq)


cdef int peer_seal(
    Engine e, Peer *to, uint8_t *packet, uint32_t header, uint32_t *size, uint64_t index
) noexcept nogil:
    """Seal a packet of `size` bytes in place, `header` of them before the payload; there is room for
    `rtp_tag` more. Its sequence number is the low half of `index`, and no index of an SSRC may come twice
    with other bytes. 0, or a negative reason."""
    cdef int sealed = <int> size[0]
    if index >> 48 != 0:
        return drop(e, DROP_SEAL)   # spent (RFC 3711 9.2), or from before the keys
    if to.sealer.context == NULL:
        if e.protect(to.srtp_out, packet, &sealed) != 0:
            return drop(e, DROP_SEAL)
        size[0] = <uint32_t> sealed
        return 0
    if evp_seal(&e.evp, &to.sealer, packet, header, size[0], index) < 0:
        return drop(e, DROP_SEAL)
    size[0] += EVP_TAG
    return 0
