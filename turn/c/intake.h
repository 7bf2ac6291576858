/* Receiving on any UDP socket into slots taken once. What lies in a slot stays until the slot is received into again,
 * so that datagrams of many sockets can lie side by side and leave from where they came in.
 *
 * A slot may hold several datagrams of one sender that the kernel put together (UDP_GRO): all of `segment` bytes but
 * the last, which may be shorter. */
#ifndef ORCHARD_INTAKE_H
#define ORCHARD_INTAKE_H

#include "batch.h"

enum {
    INTAKE_SLOTS = 64,
    INTAKE_HEADROOM = 64,    /* a head can be written before what came, and padding behind it */
    INTAKE_DATA = 65536,     /* more than any datagram, or any row that the kernel puts together, has */
    INTAKE_STRIDE = INTAKE_DATA + 4096 + 64, /* slots with room around them; at a power of two would fight for the same cache sets */
    INTAKE_CONTROL = 160,                    /* pktinfo, traffic class, UDP_GRO */
    INTAKE_UDP_GRO = 104                     /* linux/udp.h */
};

struct intake_slot {
    uint8_t *data;
    uint32_t size;
    uint32_t segment;          /* of each datagram but the last; `size` where there is one */
    uint8_t path[BATCH_PATH];  /* the remote half alone where the socket does not tell what was hit */
    uint8_t traffic;           /* DSCP and ECN as they came */
    uint8_t has_path;          /* 0: it does not tell what was hit */
};

struct intake {
    uint8_t *memory;
    struct intake_slot slots[INTAKE_SLOTS];
    struct mmsghdr headers[INTAKE_SLOTS];
    struct iovec vectors[INTAKE_SLOTS];
    struct sockaddr_in6 names[INTAKE_SLOTS];
    uint64_t control[INTAKE_SLOTS][INTAKE_CONTROL / 8];
    uint64_t calls;
};

static inline void intake_free(struct intake *in) {
    free(in->memory);
    in->memory = NULL;
}

/* 0, or -1 when there is no memory. Pages are touched when something that long comes. */
static inline int intake_init(struct intake *in) {
    memset(in, 0, sizeof *in);
    in->memory = malloc((size_t)INTAKE_SLOTS * INTAKE_STRIDE);
    if (!in->memory) return -1;
    for (uint32_t i = 0; i < INTAKE_SLOTS; i++) {
        struct msghdr *h = &in->headers[i].msg_hdr;
        in->slots[i].data = in->memory + (size_t)i * INTAKE_STRIDE + INTAKE_HEADROOM;
        in->vectors[i].iov_base = in->slots[i].data;
        in->vectors[i].iov_len = INTAKE_DATA;
        h->msg_iov = &in->vectors[i];
        h->msg_iovlen = 1;
        h->msg_name = &in->names[i];
        h->msg_control = in->control[i];
    }
    return 0;
}

/* Who sent it, and what came beside it. `hit`: whether the address that was hit has to be known. */
static inline void intake_read(struct intake_slot *s, const struct mmsghdr *m, int hit) {
    struct msghdr h = m->msg_hdr; /* CMSG_NXTHDR takes no const one */
    int found = !hit;
    s->size = s->segment = m->msg_len;
    s->traffic = 0;
    memset(s->path + 18, 0, BATCH_PATH - 18);
    if (h.msg_namelen == sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *name = h.msg_name;
        uint32_t scope = htonl(name->sin6_scope_id);
        memcpy(s->path, &name->sin6_addr, 16);
        memcpy(s->path + 16, &name->sin6_port, 2);
        memcpy(s->path + 34, &scope, 4);
    } else if (h.msg_namelen == sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *name = h.msg_name;
        batch_v4_mapped(s->path, &name->sin_addr);
        memcpy(s->path + 16, &name->sin_port, 2);
    } else {
        found = 0;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
        const uint8_t *data = CMSG_DATA(c);
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            s->traffic = *data;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int traffic;
            memcpy(&traffic, data, sizeof traffic);
            s->traffic = (uint8_t)traffic;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == INTAKE_UDP_GRO) {
            int segment;
            memcpy(&segment, data, sizeof segment);
            if (segment > 0) s->segment = (uint32_t)segment;
        } else if (hit && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, data, sizeof info);
            memcpy(s->path + 18, &info.ipi6_addr, 16);
            found = 1;
        } else if (hit && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, data, sizeof info);
            batch_v4_mapped(s->path + 18, &info.ipi_addr);
            found = 1;
        }
    }
    s->has_path = (uint8_t)found;
}

/* How many to ask a socket for that was asked for `want` and gave `count`: as many as came, or twice as many where more
 * may wait, `most` at most. To find that there are no more costs a look. */
static inline uint32_t intake_want(uint32_t want, uint32_t count, uint32_t most) {
    if (count < want) return count ? count : 1;
    return 2 * want < most ? 2 * want : most;
}

/* Receive once into the slots from `first` on, at most `count` of those there are. Returns how many were filled: 0 when nothing waits.
 * An error that an earlier datagram of ours met (ICMP) is told once in place of data: the next call has that. */
static inline uint32_t intake_receive(struct intake *in, int fd, uint32_t first, uint32_t count, int hit) {
    int n = -1;
    if (count > INTAKE_SLOTS - first) count = INTAKE_SLOTS - first;
    for (uint32_t i = first; i < first + count; i++) {
        in->headers[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        in->headers[i].msg_hdr.msg_controllen = INTAKE_CONTROL;
        in->headers[i].msg_hdr.msg_flags = 0;
    }
    for (int tries = 0; tries < 3; tries++) {
        if (count == 1) {
            ssize_t size = recvmsg(fd, &in->headers[first].msg_hdr, MSG_DONTWAIT);
            in->headers[first].msg_len = (unsigned)size;
            n = size < 0 ? -1 : 1;
        } else {
            n = recvmmsg(fd, &in->headers[first], count, MSG_DONTWAIT, NULL);
        }
        in->calls++;
        if (n >= 0 || errno == EAGAIN) break;
    }
    for (int i = 0; i < n; i++) intake_read(&in->slots[first + (uint32_t)i], &in->headers[first + (uint32_t)i], hit);
    return n > 0 ? (uint32_t)n : 0;
}

#endif
