/* A payload of any bytes: its numbers lie inside it, a shift keeps its length and its other bits, numbers that
 * follow come one after the other, and a shift back gives the bytes as they were. */
#include "vp8.h"

#include "claim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct vp8_sent last = {take16(&r), take8(&r), take8(&r), 1, 1, 1};
    struct vp8_numbers v, again;
    uint32_t n = (uint32_t)r.left;
    uint8_t *payload = own(r.data, n);
    vp8_read(&v, payload, n);
    CLAIM(v.picture_at == 0 || v.picture_at + 1u + v.wide <= n);
    CLAIM(v.tl0_at == 0 || v.tl0_at < n);
    CLAIM(v.key_at == 0 || v.key_at < n);
    struct vp8_shift shift = vp8_follow(&last, &v);
    vp8_write(payload, &v, &shift);
    vp8_read(&again, payload, n);
    CLAIM(again.picture_at == v.picture_at && again.wide == v.wide && again.tl0_at == v.tl0_at);
    CLAIM(again.key_at == v.key_at);
    uint16_t width = v.wide ? 0x7fff : 0x7f;
    CLAIM(!v.picture_at || again.picture == ((last.picture + 1) & width));
    CLAIM(!v.tl0_at || again.tl0 == (uint8_t)(last.tl0 + 1));
    CLAIM(!v.key_at || again.key == ((last.key + 1) & 0x1f));
    for (uint32_t i = 0; i < n; i++)
        CLAIM(payload[i] == r.data[i] || (v.picture_at && (i == v.picture_at || i == v.picture_at + 1u)) ||
              i == v.tl0_at || i == v.key_at);
    vp8_note(&last, &v, &shift);
    CLAIM(!v.picture_at || last.picture == again.picture);
    shift = (struct vp8_shift){(uint16_t)-shift.picture, (uint8_t)-shift.tl0, (uint8_t)-shift.key};
    vp8_write(payload, &again, &shift);
    CLAIM(n == 0 || memcmp(payload, r.data, n) == 0);
    free(payload);
    return 0;
}
