/* Datagrams of several destinations into a socket that takes some, none, or refuses to cut: each leaves at most
 * once, whole, to whom it was for and in order; each is sent, dropped and counted, or still queued; and only
 * what is not video stays when all of it can't. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/socket.h>

static int take_messages(struct mmsghdr *messages, unsigned count);
#define sendmmsg(fd, messages, count, flags) ((void)(flags), take_messages(messages, count))
#include "queue.h"

#include "claim.h"

enum { PEOPLE = 3, SLOT = 64 };

static struct reader input;
static uint32_t sent_newest[PEOPLE][2]; /* by destination and kind: the newest number that left */
static uint64_t sent_count;
static int will_cut;

static void left(const struct msghdr *h, const uint8_t *data, uint32_t size) {
    const struct sockaddr_in6 *name = h->msg_name;
    uint32_t person = ntohs(name->sin6_port), number, video;
    CLAIM(person < PEOPLE && size >= 8 && size <= SLOT && h->msg_namelen == sizeof *name);
    memcpy(&number, data, 4);
    memcpy(&video, data + 4, 4);
    CLAIM(video >> 8 == size && (video >> 4 & 15) == person && (video & 15) < 2);
    for (uint32_t i = 8; i < size; i++) CLAIM(data[i] == (uint8_t)number);
    CLAIM(number > sent_newest[person][video & 1]);
    sent_newest[person][video & 1] = number;
    sent_count++;
}

/* The kernel: takes whole messages, cut as they ask for it. */
static int take_messages(struct mmsghdr *messages, unsigned count) {
    static const int errors[] = {EAGAIN, EAGAIN, EAGAIN, EINTR, ENOBUFS, EPERM, EHOSTUNREACH};
    uint8_t mood = take8(&input);
    unsigned taken = 0;
    CLAIM(count >= 1 && count <= QUEUE_BURST);
    if (mood & 1) {
        errno = errors[(mood >> 1) % (sizeof errors / sizeof *errors)];
        if (errno == EAGAIN || input.left) return -1; /* without input it comes to an end */
    }
    for (; taken < count && (taken == 0 || taken <= mood >> 1 || !input.left); taken++) {
        struct msghdr *h = &messages[taken].msg_hdr;
        uint32_t bytes = 0, parts = (uint32_t)h->msg_iovlen;
        CLAIM(parts >= 1 && parts <= QUEUE_SEGMENTS && h->msg_flags == 0);
        if (parts > 1 && !will_cut) {
            errno = EIO;
            return taken ? (int)taken : -1;
        }
        for (uint32_t i = 0; i < parts; i++) {
            const struct iovec *v = &h->msg_iov[i];
            CLAIM(i == 0 || i == parts - 1 || v->iov_len == h->msg_iov[0].iov_len);
            CLAIM(v->iov_len <= h->msg_iov[0].iov_len);
            bytes += (uint32_t)v->iov_len;
            left(h, v->iov_base, (uint32_t)v->iov_len);
        }
        CLAIM(bytes <= QUEUE_MESSAGE);
        struct cmsghdr *last = NULL;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) last = c;
        CLAIM((parts > 1) == (last && last->cmsg_level == IPPROTO_UDP && last->cmsg_type == QUEUE_UDP_SEGMENT));
        if (parts > 1) {
            uint16_t segment;
            memcpy(&segment, CMSG_DATA(last), sizeof segment);
            CLAIM(segment == h->msg_iov[0].iov_len);
        }
    }
    return (int)taken;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct batch_destination to[PEOPLE];
    struct queue q;
    uint64_t committed = 0, dropped_new = 0;
    uint32_t number = 0;
    input = (struct reader){data, size < 400 ? size : 400};
    memset(sent_newest, 0, sizeof sent_newest);
    memset(to, 0, sizeof to);
    sent_count = 0;
    uint8_t start = take8(&input);
    CLAIM(queue_init(&q, 0, QUEUE_LEAST + (start & 15), SLOT) == 0);
    q.segments = start >> 4 & 1;
    will_cut = start >> 5 & 1;
    for (uint32_t i = 0; i < PEOPLE; i++) {
        to[i].name.sin6_family = AF_INET6;
        to[i].name.sin6_port = htons((uint16_t)i);
        to[i].name_length = sizeof to[i].name;
    }
    while (input.left) {
        uint8_t op = take8(&input);
        if ((op & 7) == 0) queue_flush(&q);
        if ((op & 7) == 1) queue_writable(&q);
        if ((op & 7) < 2) continue;
        uint32_t person = (op >> 3) % PEOPLE, video = op >> 5 & 1, wanted = 8 + take8(&input) % (SLOT - 7);
        for (uint32_t i = take8(&input) % 80; i > 0; i--) { /* the last of a row may be shorter */
            uint32_t bytes = i == 1 && op & 0x40 ? 8 + wanted % 8 : wanted, head = bytes << 8 | person << 4 | video;
            uint8_t *slot = queue_slot(&q, (int)video);
            number++;
            if (!slot) {
                CLAIM(video && q.spare_count == 0);
                dropped_new++;
                continue;
            }
            if (op & 0x80 && i == 2) {
                queue_release(&q);
                continue;
            }
            memcpy(slot, &number, 4);
            memcpy(slot + 4, &head, 4);
            memset(slot + 8, (uint8_t)number, bytes - 8);
            queue_commit(&q, &to[person], bytes);
            committed++;
        }
        CLAIM(q.spare_count + q.queued + (q.taken != NULL) == q.slots);
        CLAIM(q.vector_end <= 2 * q.slots && q.message_end <= 2 * q.slots);
        CLAIM(q.sent == sent_count);
        CLAIM(committed + dropped_new == q.sent + q.queued + q.drop_video + q.drop_full + q.drop_refused);
    }
    for (uint32_t turns = 0; q.queued; turns++) {
        CLAIM(turns < 4); /* a socket that takes again gets it all */
        queue_writable(&q);
    }
    queue_free(&q);
    return 0;
}
