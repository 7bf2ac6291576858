/* An RTP packet of any bytes, parsed and written for a subscriber: inside the room, of version 2, with the
 * payload and padding it had, and with the extensions that were allowed. */
#include "rtp.h"

#include "claim.h"

enum { INPUT_MAX = 4096 };

static int mapped_to(const uint8_t *extensions, uint8_t id) {
    for (uint32_t i = 1; i < 256; i++)
        if (extensions[i] == id) return 1;
    return 0;
}

static void check(const struct rtp_packet *in, const struct rtp_target *t, const uint8_t *out, uint32_t size) {
    struct rtp_packet got;
    CLAIM(out[0] >> 6 == 2);
    CLAIM(rtp_parse(&got, out, size) == 0);
    CLAIM(got.ssrc == t->ssrc && got.seq == t->seq && got.timestamp == t->timestamp && got.pt == t->pt);
    CLAIM(got.marker == in->marker && got.csrc_count == in->csrc_count);
    CLAIM(memcmp(out + RTP_HEADER, in->data + RTP_HEADER, 4u * in->csrc_count) == 0);
    uint32_t osn = t->rtx ? 2 : 0, padding = t->rtx ? 0 : in->padding_size;
    CLAIM(got.payload_size == in->payload_size + osn && got.padding_size == padding);
    CLAIM(((out[0] & 0x20) != 0) == (padding != 0));
    CLAIM(memcmp(out + got.payload_at + got.payload_size, in->data + in->payload_at + in->payload_size,
                 padding) == 0);
    if (!t->red) CLAIM(memcmp(out + got.payload_at + osn, in->data + in->payload_at, in->payload_size) == 0);
    CLAIM(!t->rtx || load16(out + got.payload_at) == t->osn);
    for (uint32_t i = 0; i < got.element_count; i++) {
        const struct rtp_element *e = &got.elements[i];
        CLAIM(e->id == t->mid_id || mapped_to(t->extensions, e->id));
        CLAIM(e->at + e->size <= got.payload_at);
    }
}

/* With less room than it needs there is no packet, else the same one, and nothing is written past the room. */
static void in_room(const struct rtp_packet *in, const struct rtp_target *t, const uint8_t *whole, uint32_t need,
                    uint32_t room) {
    uint8_t *out = malloc(room ? room : 1);
    if (!out) abort();
    uint32_t written = rtp_rewrite(in, t, out, room);
    CLAIM(written == (need <= room ? need : 0));
    CLAIM(memcmp(out, whole, written) == 0);
    free(out);
}

/* What RTX repeats: two bytes shorter, under the number that it carried. */
static void unwrap(uint8_t *wire, uint32_t n) {
    struct rtp_packet r;
    if (rtp_parse(&r, wire, n) < 0) return;
    uint8_t *before = own(wire, n);
    struct rtp_packet was = r;
    if (rtp_unwrap(&r, wire, 101, 0x0a0b0c0d) == 0) {
        struct rtp_packet got;
        CLAIM(was.payload_size >= 2 && r.data == wire + 2 && r.size == n - 2);
        CLAIM(rtp_parse(&got, r.data, r.size) == 0 && got.payload_at == was.payload_at);
        CLAIM(got.seq == load16(before + was.payload_at) && got.seq == r.seq && got.timestamp == was.timestamp);
        CLAIM(got.pt == 101 && r.pt == 101 && got.ssrc == 0x0a0b0c0d && r.ssrc == got.ssrc);
        CLAIM(got.payload_size == was.payload_size - 2 && got.payload_size == r.payload_size);
        CLAIM(got.padding_size == was.padding_size && got.marker == was.marker);
        CLAIM(got.element_count == was.element_count && got.csrc_count == was.csrc_count);
        CLAIM(memcmp(r.data + got.payload_at, before + was.payload_at + 2, got.payload_size) == 0);
    } else {
        CLAIM(was.payload_size < 2 && memcmp(before, wire, n) == 0);
    }
    free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct rtp_packet packet;
    struct rtp_target target;
    uint8_t types[128], extensions[256], mid[16];
    uint8_t flags = take8(&r), map = take8(&r);
    uint32_t room = flags & 0x80 ? take16(&r) % 2048 : 2048;
    for (uint32_t i = 0; i < sizeof types; i++) types[i] = (uint8_t)(i % 5 == map % 5 ? 0xff : i ^ (map & 0x7f));
    for (uint32_t i = 0; i < sizeof extensions; i++)
        extensions[i] = (uint8_t)(i % 3 == 0 ? 0 : flags & 0x40 ? i : (i + map) % 15);
    extensions[0] = 0;
    memset(mid, 'm', sizeof mid);
    target = (struct rtp_target){
        .ssrc = 0x01020304, .timestamp = 0xfffefdfc, .seq = take16(&r), .red = flags & 1, .rtx = (flags >> 3) & 1, .osn = 0xbead,
        .mixed = (flags >> 1) & 1,
        .mid_id = (uint8_t)(flags & 4 ? 1 + map % 20 : 0), .mid_size = (uint8_t)(1 + map % 16), .mid = mid,
        .extensions = extensions, .types = types,
    };
    uint8_t *wire = own(r.data, r.left);
    uint32_t n = (uint32_t)r.left;
    for (uint32_t tag = 0; tag <= 16; tag += 4) {
        uint32_t header = rtp_check(wire, n, tag);
        CLAIM(header == 0 || (header >= RTP_HEADER && header + tag <= n));
    }
    if (rtp_parse(&packet, wire, n) == 0) {
        CLAIM(packet.payload_at + packet.payload_size + packet.padding_size == n);
        for (uint32_t id = 0; id < 256; id++) {
            const struct rtp_element *e = rtp_element_of(&packet, (uint8_t)id);
            CLAIM(!e || (id != 0 && (uint32_t)e->at + e->size <= packet.payload_at));
        }
        if (types[packet.pt] < 128) {
            target.pt = types[packet.pt];
            uint8_t whole[INPUT_MAX + 512];
            uint32_t need = rtp_rewrite(&packet, &target, whole, sizeof whole);
            CLAIM(need <= sizeof whole);
            if (need) check(&packet, &target, whole, need);
            in_room(&packet, &target, whole, need, need); /* just fits */
            in_room(&packet, &target, whole, need, need ? need - 1 : 0);
            in_room(&packet, &target, whole, need, room);
        }
    }
    unwrap(wire, n);
    free(wire);
    return 0;
}
