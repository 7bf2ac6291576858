/* What is put into a connection comes out of it, in order and once, however little it takes at a time; and what is held of
 * a message that is not whole is what was held. */
#include "stream.h"

#include "claim.h"

enum { MOST = 1 << 16 };

static uint8_t byte_at(uint64_t at) { return (uint8_t)(at * 2654435761u >> 13); }

/* Read some, and look whether it is what was put. */
static int64_t read_some(int fd, uint64_t from, uint32_t most) {
    static uint8_t out[MOST];
    ssize_t n = recv(fd, out, most, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++) CLAIM(out[i] == byte_at(from + (uint64_t)i));
    return n < 0 ? 0 : n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t bytes[MOST];
    struct reader r = {data, size};
    struct stream s;
    int pair[2], small = 4096;
    uint64_t put = 0, got = 0;
    memset(&s, 0, sizeof s);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0) abort();
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    s.fd = pair[0];
    s.open = 1;
    while (r.left) {
        uint8_t what = take8(&r);
        uint32_t n = 1 + take16(&r) % (1u << 2 * (what >> 3 & 6));
        switch (what & 3) {
        case 0:
            for (uint32_t i = 0; i < n; i++) bytes[i] = byte_at(put + i);
            CLAIM(stream_put(&s, bytes, n) == 0);
            put += n;
            break;
        case 1:
            if (stream_queued(&s)) CLAIM(stream_flush(&s) == 0);
            break;
        case 2:
            got += (uint64_t)read_some(pair[1], got, n);
            break;
        default:
            for (uint32_t i = 0; i < n; i++) bytes[i] = byte_at(i);
            CLAIM(stream_hold(&s, bytes, n, what & 4 ? n + 100 : 0) == 0);
            CLAIM(s.held_size == n && s.held_need >= n && s.held_capacity >= s.held_need);
            CLAIM(memcmp(s.held, bytes, n) == 0);
            if (what & 128) stream_hold_nothing(&s);
        }
        CLAIM(s.queue_at <= s.queue_end && s.queue_end <= s.queue_capacity);
        CLAIM(got + stream_queued(&s) <= put);
    }
    while (got < put) {
        uint64_t before = got;
        if (stream_queued(&s)) CLAIM(stream_flush(&s) == 0);
        got += (uint64_t)read_some(pair[1], got, MOST);
        CLAIM(got > before);
    }
    CLAIM(stream_queued(&s) == 0 && s.queue == NULL);
    stream_close(&s);
    close(pair[1]);
    return 0;
}
