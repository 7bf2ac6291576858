/* Packets of any size at any times, and what is read of streams between them: no more pass than the rates allow from any
 * moment on, and what is idle fills. */
#include "bucket.h"

#include "claim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reader r = {data, size};
    struct bucket b = {0, 0, take16(&r), take32(&r)};
    int64_t now = (int64_t)take32(&r) * 1000000, start = now;
    uint64_t packets = 0, bytes = 0, reads = 0;
    while (r.left) {
        uint32_t length = take16(&r);
        now += (int64_t)take16(&r) * 1000;
        struct bucket before = b;
        if (length % 4 == 3) {
            uint32_t most = length * 1000, room = bucket_room(&b, most, now), burst = bucket_burst(&b, most);
            CLAIM(room <= most && burst <= most && (b.bytes_per_s || room == most));
            CLAIM(b.bytes_ns > now || room == burst); /* as much as at any time, after a pause */
            bucket_spend(&b, room, now);
            CLAIM(b.packets_ns == before.packets_ns && (!b.bytes_per_s || b.bytes_ns - now <= BUCKET_BURST_NS));
            bytes += room;
            reads++;
            continue;
        }
        if (!bucket_take(&b, length, now)) {
            CLAIM(b.packets_ns == before.packets_ns && b.bytes_ns == before.bytes_ns);
            CLAIM(b.packets_per_s || b.bytes_per_s);
            continue;
        }
        packets++;
        bytes += length;
        double allowed_s = (double)(now - start + BUCKET_BURST_NS) / 1e9;
        /* each share is rounded down to a nanosecond */
        CLAIM(!b.packets_per_s || (double)packets / (double)b.packets_per_s <= allowed_s + (double)packets / 1e9);
        CLAIM(!b.bytes_per_s || (double)bytes / (double)b.bytes_per_s <= allowed_s + (double)(packets + reads) / 1e9);
    }
    now += 2ll * BUCKET_BURST_NS;
    CLAIM(b.packets_per_s == 1 || (b.bytes_per_s && b.bytes_per_s < 3) || bucket_take(&b, 1, now));
    return 0;
}
