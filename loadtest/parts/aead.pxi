# SRTP's keys and its AEAD transform (RFC 7714). A `Key` owns its OpenSSL context; calls nothing else.


cdef struct Key:
    EVP_CIPHER_CTX *ctx     # owned; holds the session key
    uint8_t salt[SALT_BYTES]


cdef int derive(uint8_t *to, int length, const uint8_t *master, int key_length, uint8_t label) noexcept nogil:
    """Session key or salt by AES-CM (RFC 3711 4.3.1); a 96-bit salt stands at the left (RFC 7714 11)."""
    cdef uint8_t iv[16]
    cdef uint8_t zeros[32]
    cdef int done = 0
    cdef int ok = 0
    cdef EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new()
    memset(iv, 0, 16)
    memset(zeros, 0, 32)
    memcpy(iv, master + key_length, SALT_BYTES)
    iv[7] ^= label
    if ctx != NULL:
        ok = (EVP_EncryptInit_ex(ctx, EVP_aes_128_ctr() if key_length == 16 else EVP_aes_256_ctr(), NULL, master, iv)
              and EVP_EncryptUpdate(ctx, to, &done, zeros, length))
        EVP_CIPHER_CTX_free(ctx)
    return 0 if ok else -1


cdef int key_set(Key *key, const uint8_t *master, int key_length, uint8_t label) noexcept nogil:
    """Make a session key of label `label` and its salt of `label + 2`."""
    cdef uint8_t session[32]
    if derive(session, key_length, master, key_length, label) < 0:
        return -1
    if derive(key.salt, SALT_BYTES, master, key_length, label + 2) < 0:
        return -1
    if key.ctx == NULL:
        key.ctx = EVP_CIPHER_CTX_new()
    if key.ctx == NULL:
        return -1
    if not EVP_EncryptInit_ex(key.ctx, EVP_aes_128_gcm() if key_length == 16 else EVP_aes_256_gcm(), NULL, session, NULL):
        return -1
    return 0


cdef void key_clear(Key *key) noexcept nogil:
    if key.ctx != NULL:
        EVP_CIPHER_CTX_free(key.ctx)
        key.ctx = NULL


cdef void rtp_iv(uint8_t *iv, const uint8_t *salt, uint32_t ssrc, uint64_t index) noexcept nogil:
    """RFC 7714 8.1: two zero bytes, SSRC, roll-over counter, sequence number, all under the salt."""
    cdef int i
    iv[0] = 0
    iv[1] = 0
    write32(iv + 2, ssrc)
    write32(iv + 6, <uint32_t>(index >> 16))
    write16(iv + 10, <uint32_t>(index & 0xFFFF))
    for i in range(SALT_BYTES):
        iv[i] ^= salt[i]


cdef void rtcp_iv(uint8_t *iv, const uint8_t *salt, uint32_t ssrc, uint32_t index) noexcept nogil:
    """RFC 7714 9.1."""
    cdef int i
    iv[0] = 0
    iv[1] = 0
    write32(iv + 2, ssrc)
    iv[6] = 0
    iv[7] = 0
    write32(iv + 8, index)
    for i in range(SALT_BYTES):
        iv[i] ^= salt[i]


cdef int gcm_seal(Key *key, const uint8_t *iv, const uint8_t *aad, int aad_length, const uint8_t *more, int more_length,
                  const uint8_t *body, int length, uint8_t *to) noexcept nogil:
    """Encrypt `body` to `to` (which may be `body`) and write the tag after it; 0, or -1 if OpenSSL refuses."""
    cdef int done = 0
    if not EVP_EncryptInit_ex(key.ctx, NULL, NULL, NULL, iv):
        return -1
    if not EVP_EncryptUpdate(key.ctx, NULL, &done, aad, aad_length):
        return -1
    if more_length and not EVP_EncryptUpdate(key.ctx, NULL, &done, more, more_length):
        return -1
    if length and not EVP_EncryptUpdate(key.ctx, to, &done, body, length):
        return -1
    if not EVP_EncryptFinal_ex(key.ctx, to + length, &done):
        return -1
    return 0 if EVP_CIPHER_CTX_ctrl(key.ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, to + length) else -1


cdef int gcm_open(Key *key, const uint8_t *iv, const uint8_t *aad, int aad_length, const uint8_t *more, int more_length,
                  uint8_t *body, int length) noexcept nogil:
    """Decrypt `length` bytes of `body` in place, the tag stands after them; 0, or -1 if it is wrong."""
    cdef int done = 0
    if not EVP_DecryptInit_ex(key.ctx, NULL, NULL, NULL, iv):
        return -1
    if not EVP_DecryptUpdate(key.ctx, NULL, &done, aad, aad_length):
        return -1
    if more_length and not EVP_DecryptUpdate(key.ctx, NULL, &done, more, more_length):
        return -1
    if length and not EVP_DecryptUpdate(key.ctx, body, &done, body, length):
        return -1
    if not EVP_CIPHER_CTX_ctrl(key.ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, body + length):
        return -1
    return 0 if EVP_DecryptFinal_ex(key.ctx, body + length, &done) > 0 else -1


cdef int header_length(const uint8_t *packet, int length) noexcept nogil:
    """Length of an RTP header with CSRCs and extension, or -1 if the packet has no room for it."""
    cdef int at
    if length < 12 or packet[0] >> 6 != 2:
        return -1
    at = 12 + 4 * (packet[0] & 0x0F)
    if packet[0] & 0x10:
        if length < at + 4:
            return -1
        at += 4 + 4 * read16(packet + at + 2)
    return at if at <= length else -1
