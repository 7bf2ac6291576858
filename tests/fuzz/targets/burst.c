/* Datagrams for several destinations into sockets that take some, are full, tell of an earlier error, or refuse to cut:
 * each leaves at most once, whole, by its socket, to whom it was for, in its class and in order; and each is sent or
 * dropped and counted. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/socket.h>

static int take_messages(int fd, struct mmsghdr *messages, unsigned count);
static ssize_t take_plain(int fd, const void *data, size_t size, const void *name, socklen_t length);
static ssize_t take_one(int fd, const struct msghdr *message);
#define sendmmsg(fd, messages, count, flags) ((void)(flags), take_messages(fd, messages, count))
#define sendmsg(fd, message, flags) ((void)(flags), take_one(fd, message))
#define sendto(fd, data, size, flags, name, length) ((void)(flags), take_plain(fd, data, size, name, length))
#include "burst.h"

#include "claim.h"

enum { PEOPLE = 3, SOCKETS = 2, DATA = 64 };

static struct reader input;
static uint32_t newest[PEOPLE]; /* the number that left last */
static uint64_t left_count, left_bytes;
static int will_cut;

/* One datagram: a head with number, person, socket and class, then data of the number's low byte, then zeros. */
static void left(int fd, const struct msghdr *h, const uint8_t *p, uint32_t size, uint8_t traffic) {
    const struct sockaddr_in6 *name = h->msg_name;
    uint32_t number, head = p[6];
    memcpy(&number, p, 4);
    CLAIM(size >= 8 && size == head + p[7] + (-p[7] & 3u));
    CLAIM(ntohs(name->sin6_port) == (p[4] & 15) && p[4] >> 4 == fd && p[5] == traffic);
    for (uint32_t i = head; i < head + p[7]; i++) CLAIM(p[i] == (uint8_t)number);
    for (uint32_t i = head + p[7]; i < size; i++) CLAIM(p[i] == 0);
    CLAIM(number > newest[p[4] & 15]);
    newest[p[4] & 15] = number;
    left_count++;
    left_bytes += size;
}

/* All bytes of a message, in pieces as long as it asks for. */
static void cut(int fd, const struct msghdr *h) {
    static uint8_t whole[65536];
    uint32_t size = 0, segment = 0;
    uint8_t traffic = 0;
    struct msghdr copy = *h;
    for (size_t i = 0; i < h->msg_iovlen; i++) {
        CLAIM(h->msg_iov[i].iov_len > 0 && size + h->msg_iov[i].iov_len <= QUEUE_MESSAGE);
        memcpy(whole + size, h->msg_iov[i].iov_base, h->msg_iov[i].iov_len);
        size += (uint32_t)h->msg_iov[i].iov_len;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c)) {
        uint16_t asked;
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) traffic = *CMSG_DATA(c);
        if (c->cmsg_level != IPPROTO_UDP) continue;
        memcpy(&asked, CMSG_DATA(c), sizeof asked);
        segment = asked;
    }
    if (segment == 0) segment = size;
    CLAIM(size > 0 && (size + segment - 1) / segment <= QUEUE_SEGMENTS);
    for (uint32_t at = 0; at < size; at += segment)
        left(fd, h, whole + at, size - at < segment ? size - at : segment, traffic);
}

static int is_row(const struct msghdr *h) {
    struct msghdr copy = *h;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c))
        if (c->cmsg_level == IPPROTO_UDP) return 1;
    return 0;
}

static int refuses(const struct msghdr *h) {
    static const int errors[] = {EAGAIN, ENOBUFS, ECONNREFUSED, EINTR, EPERM, EHOSTUNREACH, EMSGSIZE, EINVAL};
    uint8_t mood = take8(&input);
    if (is_row(h) && !will_cut) errno = EIO;
    else if (mood & 1) errno = errors[mood >> 1 & 7];
    else return 0;
    return 1;
}

static int take_messages(int fd, struct mmsghdr *messages, unsigned count) {
    unsigned taken = 0;
    CLAIM(count >= 1 && count <= BURST_MESSAGES);
    for (; taken < count; taken++) {
        if (refuses(&messages[taken].msg_hdr)) return taken ? (int)taken : -1;
        cut(fd, &messages[taken].msg_hdr);
    }
    return (int)taken;
}

static ssize_t take_plain(int fd, const void *data, size_t size, const void *name, socklen_t length);
static ssize_t take_one(int fd, const struct msghdr *message) {
    if (refuses(message)) return -1;
    cut(fd, message);
    return 1;
}

static ssize_t take_plain(int fd, const void *data, size_t size, const void *name, socklen_t length) {
    struct iovec whole = {(void *)(uintptr_t)data, size};
    struct msghdr h;
    memset(&h, 0, sizeof h);
    h.msg_name = (void *)(uintptr_t)name;
    h.msg_namelen = length;
    h.msg_iov = &whole;
    h.msg_iovlen = 1;
    return take_one(fd, &h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct burst b;
    static uint8_t bytes[256][DATA]; /* bytes[n] are all n */
    struct batch_destination to[SOCKETS][PEOPLE];
    uint64_t put = 0;
    uint32_t number = 0;
    input = (struct reader){data, size < 400 ? size : 400};
    memset(newest, 0, sizeof newest);
    memset(to, 0, sizeof to);
    for (int i = 0; i < 256; i++) memset(bytes[i], i, DATA);
    left_count = left_bytes = 0;
    burst_init(&b);
    will_cut = take8(&input) & 1;
    for (uint32_t i = 0; i < PEOPLE; i++) {
        to[0][i].name.sin6_family = AF_INET6;
        to[0][i].name.sin6_port = htons((uint16_t)i);
        to[0][i].name_length = sizeof to[0][i].name;
        to[1][i] = to[0][i]; /* another destination with the same bytes */
    }
    while (input.left) {
        uint8_t op = take8(&input), traffic = op >> 6 == 3 ? 0xb8 : 0, length = take8(&input) % (DATA + 1);
        uint32_t person = (op & 7u) % PEOPLE, fd = op >> 3 & 1u;
        uint32_t row = take8(&input) % 80;
        burst_use(&b, (int)fd);
        for (uint32_t i = 0; i < row; i++) {
            uint8_t *head = burst_head(&b);
            uint8_t head_size = op & 0x10 ? 8 : BURST_HEAD;
            number++;
            memset(head, 0, head_size);
            memcpy(head, &number, 4);
            head[4] = (uint8_t)(fd << 4 | person);
            head[5] = traffic;
            head[6] = head_size;
            head[7] = i == row - 1 ? length / 2 : length;
            burst_put(&b, &to[i & 1][person], 0, traffic, head_size, bytes[number & 255], head[7], -head[7] & 3u);
            put++;
        }
        if (op & 0x20) burst_flush(&b);
        uint64_t waiting = 0;
        for (uint32_t i = 0; i < b.message_count; i++) waiting += b.messages[i].count;
        CLAIM(put == b.sent + b.drop_full + b.drop_refused + waiting);
        CLAIM(b.sent == left_count && b.sent_bytes == left_bytes);
    }
    burst_flush(&b);
    CLAIM(put == b.sent + b.drop_full + b.drop_refused && b.message_count == 0);
    CLAIM(b.sent == left_count && b.sent_bytes == left_bytes);
    return 0;
}
