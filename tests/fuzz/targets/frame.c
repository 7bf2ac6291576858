/* A client's datagram of any bytes: what is read of it lies inside it, a peer is one that can be sent to, and data that is
 * wrapped for a client is a datagram from which it can be read again. */
#include "frame.h"

#include "claim.h"

static void wrap(const uint8_t *peer, const uint8_t *data, uint32_t size, const struct crc_table *crc) {
    uint64_t id[2] = {0x0123456789abcdefull, 0xfedcba9876543210ull};
    uint8_t *out = malloc(FRAME_HEAD + size + 3);
    struct frame_send back;
    if (!out) abort();
    uint32_t head = frame_write_data(out, peer, size, id), whole = head + size + frame_padding(size);
    CLAIM(head <= FRAME_HEAD && whole % 4 == 0);
    memcpy(out + head, data, size);
    memset(out + head + size, 0, frame_padding(size));
    CLAIM(frame_kind(out, whole) == FRAME_STUN && load16(out) == 0x0017);
    CLAIM(frame_read_send(&back, out, whole, crc) == 0);
    CLAIM(memcmp(back.peer, peer, FRAME_PEER) == 0 && back.size == size && memcmp(back.data, data, size) == 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct crc_table crc;
    static int ready;
    uint32_t n = (uint32_t)size;
    uint16_t channel;
    uint32_t length;
    struct frame_send s;
    if (!ready) crc_init(&crc);
    ready = 1;
    int kind = frame_kind(data, n);
    if (kind == FRAME_CHANNEL && frame_channel(data, n, &channel, &length) == 0) {
        CLAIM(channel >= 0x4000 && channel <= 0x7fff && length + FRAME_CHANNEL_HEAD <= n);
        uint8_t head[FRAME_CHANNEL_HEAD];
        CLAIM(frame_write_channel(head, channel, length) == sizeof head && memcmp(head, data, sizeof head) == 0);
    }
    if (kind == FRAME_STUN || kind == FRAME_SEND) CLAIM(n >= FRAME_STUN_HEAD && n % 4 == 0 && data[0] < 4);
    if (kind != FRAME_SEND || frame_read_send(&s, data, n, &crc) < 0) return 0;
    CLAIM(s.data >= data + FRAME_STUN_HEAD && s.data + s.size <= data + n);
    CLAIM(load16(s.peer + 16) != 0);
    wrap(s.peer, s.data, s.size, &crc);
    return 0;
}
