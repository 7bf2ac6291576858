/* Sending on any UDP socket from where the bytes lie: gathered, then sent with as few calls as can be.
 *
 * A datagram is a head that was written here, data that lies elsewhere, and 0 to 3 zeros; or data alone. Those that follow one another for one
 * destination and have one size (the last may be shorter) leave as one message that the kernel cuts (UDP_SEGMENT), as in
 * sfu/net/queue.h; unlike there, what a full socket does not take is dropped: a relay keeps nothing. */
#ifndef ORCHARD_BURST_H
#define ORCHARD_BURST_H

#include "batch.h"

enum {
    BURST_MESSAGES = 64,
    BURST_DATAGRAMS = 512,
    BURST_VECTORS = 3 * BURST_DATAGRAMS,
    BURST_HEAD = 48
};

struct burst_message {
    struct sockaddr_in6 name;
    socklen_t name_length;
    uint32_t control_length;
    uint64_t control[14]; /* pktinfo, traffic class, UDP_SEGMENT */
    uint32_t first, vectors;
    uint32_t count, bytes;
    const struct batch_destination *to;
    uint16_t segment;
    uint8_t closed; /* the last is shorter: none may follow */
    uint8_t traffic;
};

struct burst {
    int fd;
    int cuts;          /* whether the kernel is asked to cut */
    uint32_t refusals; /* in a row */
    uint32_t message_count, vector_count, head_count;
    struct burst_message messages[BURST_MESSAGES];
    struct mmsghdr headers[BURST_MESSAGES];
    struct iovec vectors[BURST_VECTORS];
    uint8_t heads[BURST_DATAGRAMS][BURST_HEAD];
    uint64_t sent, sent_bytes, calls, sent_cut, cuts_refused;
    uint64_t drop_full;    /* the socket or the machine has no room */
    uint64_t drop_refused; /* the destination is at fault */
};

static inline void burst_init(struct burst *b) {
    memset(b, 0, sizeof *b);
    b->fd = -1;
    b->cuts = 1;
}

static inline void burst_control(struct burst_message *m, int level, int type, const void *value, uint32_t size) {
    uint8_t *at = (uint8_t *)m->control + m->control_length;
    struct cmsghdr c;
    memset(at, 0, CMSG_SPACE(size));
    memset(&c, 0, sizeof c);
    c.cmsg_level = level;
    c.cmsg_type = type;
    c.cmsg_len = CMSG_LEN(size);
    memcpy(at, &c, sizeof c);
    memcpy(at + CMSG_LEN(0), value, size);
    m->control_length += (uint32_t)CMSG_SPACE(size);
}

static inline void burst_fill(const struct burst *b, struct burst_message *m, struct msghdr *h) {
    if (m->count > 1) burst_control(m, IPPROTO_UDP, QUEUE_UDP_SEGMENT, &m->segment, sizeof m->segment);
    h->msg_name = &m->name;
    h->msg_namelen = m->name_length;
    h->msg_iov = (struct iovec *)&b->vectors[m->first];
    h->msg_iovlen = m->vectors;
    h->msg_control = m->control_length ? m->control : NULL;
    h->msg_controllen = m->control_length;
    h->msg_flags = 0;
}

static inline int burst_is_full_error(int error) { return error == EAGAIN || error == ENOBUFS || error == ENOMEM; }

/* One datagram of a message that the kernel would not cut; the message's UDP_SEGMENT is off already. Where it does not
 * go, the error may be an earlier one's (ICMP), which is told once: tried twice. */
static inline void burst_one(struct burst *b, struct burst_message *m, struct iovec *v, uint32_t count, uint32_t size) {
    struct msghdr h;
    ssize_t n = -1;
    memset(&h, 0, sizeof h);
    h.msg_name = &m->name;
    h.msg_namelen = m->name_length;
    h.msg_iov = v;
    h.msg_iovlen = count;
    h.msg_control = m->control_length ? m->control : NULL;
    h.msg_controllen = m->control_length;
    for (int tries = 0; tries < 2 && n < 0; tries++) {
        n = sendmsg(b->fd, &h, MSG_DONTWAIT);
        b->calls++;
        if (n < 0 && burst_is_full_error(errno)) break;
    }
    if (n >= 0) {
        b->sent++;
        b->sent_bytes += size;
    } else if (burst_is_full_error(errno)) {
        b->drop_full++;
    } else {
        b->drop_refused++;
    }
}

static inline void burst_uncut(struct burst *b, struct burst_message *m) {
    struct iovec *v = &b->vectors[m->first];
    m->control_length -= (uint32_t)CMSG_SPACE(sizeof m->segment);
    for (uint32_t left = m->vectors; left > 0;) {
        uint32_t count = 0, size = 0;
        while (count < left && size < m->segment) size += (uint32_t)v[count++].iov_len;
        burst_one(b, m, v, count, size);
        v += count;
        left -= count;
    }
}

/* The one message that is left: 1, or -1 and errno. One datagram with nothing beside it needs the least copying. */
static inline int burst_alone(const struct burst *b, const struct burst_message *m, const struct msghdr *h) {
    const struct iovec *v = &b->vectors[m->first];
    ssize_t n;
    if (m->vectors == 1 && m->control_length == 0)
        n = sendto(b->fd, v->iov_base, v->iov_len, MSG_DONTWAIT, (const struct sockaddr *)&m->name, m->name_length);
    else n = sendmsg(b->fd, h, MSG_DONTWAIT);
    return n < 0 ? -1 : 1;
}

/* Send all that was put. */
static inline void burst_flush(struct burst *b) {
    uint32_t at = 0;
    int tried = 0;
    for (uint32_t i = 0; i < b->message_count; i++) burst_fill(b, &b->messages[i], &b->headers[i].msg_hdr);
    while (at < b->message_count) {
        struct burst_message *m = &b->messages[at];
        uint32_t count = b->message_count - at;
        int n;
        if (count == 1) n = burst_alone(b, m, &b->headers[at].msg_hdr);
        else n = sendmmsg(b->fd, &b->headers[at], count, MSG_DONTWAIT);
        int error = errno;
        b->calls++;
        if (n > 0) {
            for (; n > 0; n--, at++) {
                m = &b->messages[at];
                b->sent += m->count;
                b->sent_bytes += m->bytes;
                if (m->count > 1) {
                    b->sent_cut += m->count;
                    b->refusals = 0;
                }
            }
            tried = 0;
        } else if (burst_is_full_error(error)) {
            for (; at < b->message_count; at++) b->drop_full += b->messages[at].count;
        } else if (!tried) {
            tried = 1; /* an error of an earlier datagram (ICMP) is told once in place of sending */
        } else {
            if (m->count > 1 && (error == EINVAL || error == EIO || error == EMSGSIZE)) {
                /* the path's MTU is less than a datagram, or its device can't checksum */
                b->cuts_refused++;
                if (++b->refusals == QUEUE_REFUSALS) b->cuts = 0;
                burst_uncut(b, m);
            } else {
                b->drop_refused += m->count;
            }
            at++;
            tried = 0;
        }
    }
    b->message_count = b->vector_count = b->head_count = 0;
}

/* What is put from now on leaves by this socket. */
static inline void burst_use(struct burst *b, int fd) {
    if (b->fd != fd && b->message_count) burst_flush(b);
    b->fd = fd;
}

static inline int burst_joins(const struct burst *b, const struct burst_message *m, const struct batch_destination *to,
                              uint8_t traffic, uint32_t size) {
    return b->cuts && !m->closed && size <= m->segment && size > 0 && m->count < QUEUE_SEGMENTS &&
           m->bytes + size <= QUEUE_MESSAGE && m->traffic == traffic &&
           (m->to == to || (m->to->control_length == 0 && to->control_length == 0 &&
                            memcmp(&m->to->name, &to->name, sizeof to->name) == 0));
}

/* Where the head of the datagram that is put next is written, BURST_HEAD bytes. Sends first where there is no room. */
static inline uint8_t *burst_head(struct burst *b) {
    if (b->head_count == BURST_DATAGRAMS || b->message_count == BURST_MESSAGES) burst_flush(b);
    return b->heads[b->head_count];
}

/* Put a datagram: `head_size` bytes of the last burst_head, `size` bytes at `data` and `padding` zeros. Data and `to`
 * stay as they are until the flush. `traffic`: its DSCP and ECN; `v4`: whether it leaves as IPv4. */
static inline void burst_put(struct burst *b, const struct batch_destination *to, int v4, uint8_t traffic,
                             uint32_t head_size, const uint8_t *data, uint32_t size, uint32_t padding) {
    static const uint8_t zeros[4];
    uint32_t whole = head_size + size + padding;
    struct burst_message *m = b->message_count ? &b->messages[b->message_count - 1] : NULL;
    if (!m || !burst_joins(b, m, to, traffic, whole)) {
        m = &b->messages[b->message_count++];
        m->name = to->name;
        m->name_length = to->name_length;
        m->control_length = to->control_length;
        memcpy(m->control, to->control, to->control_length);
        if (traffic) {
            int value = traffic;
            if (v4) burst_control(m, IPPROTO_IP, IP_TOS, &value, sizeof value);
            else burst_control(m, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof value);
        }
        m->first = b->vector_count;
        m->vectors = m->count = m->bytes = 0;
        m->to = to;
        m->segment = (uint16_t)whole;
        m->closed = 0;
        m->traffic = traffic;
    }
    if (head_size) b->vectors[b->vector_count++] = (struct iovec){b->heads[b->head_count], head_size};
    if (size) b->vectors[b->vector_count++] = (struct iovec){(uint8_t *)data, size};
    if (padding) b->vectors[b->vector_count++] = (struct iovec){(uint8_t *)zeros, padding};
    b->head_count++;
    m->vectors = b->vector_count - m->first;
    m->count++;
    m->bytes += whole;
    m->closed = whole < m->segment;
}

/* A destination of 18 bytes (address, port) for a socket of its family that need not say where from. */
static inline void burst_peer(struct batch_destination *to, int family, const uint8_t *peer) {
    memset(&to->name, 0, sizeof to->name);
    to->control_length = 0;
    if (family == AF_INET6) {
        to->name.sin6_family = AF_INET6;
        memcpy(&to->name.sin6_addr, peer, 16);
        memcpy(&to->name.sin6_port, peer + 16, 2);
        to->name_length = sizeof to->name;
    } else {
        struct sockaddr_in name;
        memset(&name, 0, sizeof name);
        name.sin_family = AF_INET;
        memcpy(&name.sin_addr, peer + 12, 4);
        memcpy(&name.sin_port, peer + 16, 2);
        memcpy(&to->name, &name, sizeof name);
        to->name_length = sizeof name;
    }
}

#endif
