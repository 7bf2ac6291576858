/* One TCP or TLS connection of a client: reading, what is held of a message that is not whole, writing, and what waits to
 * be written. TLS is OpenSSL on the same non-blocking descriptor. Nothing here knows what the bytes mean.
 *
 * SIGPIPE is ignored, as Python sets it: OpenSSL writes without MSG_NOSIGNAL. */
#ifndef ORCHARD_STREAM_H
#define ORCHARD_STREAM_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum {
    STREAM_UNSENT = 128 << 10, /* bytes that the kernel may hold unsent: more would only be late. Chosen */
    STREAM_READS = 2           /* of a TLS record without data: KeyUpdate, ... */
};

struct stream {
    int fd;
    SSL *ssl; /* NULL: plain TCP */
    uint32_t generation;
    uint32_t next; /* free, or ended and not told yet */
    uint32_t allocation;
    int64_t since_us;       /* accepted, then open */
    int64_t unallocated_us; /* since when it has no allocation */
    int64_t partial_us;     /* since when a message is not whole, where some is held */
    uint8_t *held;          /* of a message that is not whole */
    uint32_t held_size, held_capacity;
    uint32_t held_need;     /* the whole message, where it is known */
    uint8_t *queue;         /* waits to be written, from queue_at to queue_end */
    uint32_t queue_at, queue_end, queue_capacity;
    uint32_t armed; /* what epoll is asked for */
    uint8_t used;
    uint8_t open;  /* the handshake is over */
    uint8_t heard; /* a whole message has come */
    uint8_t again; /* there is more to do with what has been read */
    uint8_t wants_write; /* the handshake */
    uint8_t end;   /* why it is over; 0: it is not */
};

static inline uint32_t stream_queued(const struct stream *s) { return s->queue_end - s->queue_at; }

/* Take a descriptor over. -1: errno says why it is none of a TCP connection, or there is no memory; it stays the
 * caller's then. */
static inline int stream_open(struct stream *s, int fd, SSL_CTX *tls) {
    int one = 1, unsent = STREAM_UNSENT, type = -1;
    socklen_t size = sizeof type;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -1;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0) return -1;
    if (type != SOCK_STREAM) {
        errno = EINVAL;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* a client that is gone already is told by the first read */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    s->ssl = NULL;
    if (tls) {
        ERR_clear_error();
        s->ssl = SSL_new(tls);
        if (!s->ssl || SSL_set_fd(s->ssl, fd) != 1) {
            SSL_free(s->ssl);
            s->ssl = NULL;
            errno = ENOMEM;
            return -1;
        }
        SSL_set_accept_state(s->ssl);
    }
    s->fd = fd;
    s->open = !tls;
    return 0;
}

/* Close it, with TLS's word of that where it goes out at once. */
static inline void stream_close(struct stream *s) {
    if (s->ssl) {
        ERR_clear_error();
        if (s->open) SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
        ERR_clear_error();
    }
    close(s->fd);
    free(s->held);
    free(s->queue);
    s->ssl = NULL;
    s->fd = -1;
    s->held = s->queue = NULL;
    s->held_size = s->held_capacity = s->held_need = s->queue_at = s->queue_end = s->queue_capacity = 0;
}

/* Go on with the handshake: 1 when it is over, 0 when it has to wait, -1 when it failed. */
static inline int stream_handshake(struct stream *s) {
    ERR_clear_error();
    int done = SSL_do_handshake(s->ssl);
    int why = done == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, done);
    ERR_clear_error();
    s->wants_write = why == SSL_ERROR_WANT_WRITE;
    if (done == 1) s->open = 1;
    if (done == 1) return 1;
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Read at most `room` bytes, which are more than none; how many came. `ended`: no more will. */
static inline uint32_t stream_receive(struct stream *s, uint8_t *out, uint32_t room, int *ended) {
    uint32_t got = 0;
    s->again = 0;
    if (!s->ssl) {
        ssize_t n = recv(s->fd, out, room, MSG_DONTWAIT);
        if (n > 0) return (uint32_t)n;
        *ended = n == 0 || (errno != EAGAIN && errno != EINTR);
        return 0;
    }
    for (int reads = 0; got < room && reads < STREAM_READS;) {
        size_t n = 0;
        ERR_clear_error();
        if (SSL_read_ex(s->ssl, out + got, room - got, &n) == 1) {
            got += (uint32_t)n;
            reads = 0;
            continue;
        }
        int why = SSL_get_error(s->ssl, 0);
        ERR_clear_error();
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
            *ended = 1;
            return got;
        }
        reads++;
        if (!SSL_has_pending(s->ssl)) break;
    }
    if (got == room) s->again = SSL_has_pending(s->ssl) != 0;
    return got;
}

/* Write what goes out at once of `size` bytes; how many, or -1 when the connection is over. */
static inline int64_t stream_write(struct stream *s, const uint8_t *data, uint32_t size) {
    uint32_t done = 0;
    while (done < size) {
        if (!s->ssl) {
            ssize_t n = send(s->fd, data + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0 && (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)) break;
            if (n < 0 && errno == EINTR) continue;
            if (n < 0) return -1;
            done += (uint32_t)n;
            continue;
        }
        size_t n = 0;
        ERR_clear_error();
        if (SSL_write_ex(s->ssl, data + done, size - done, &n) == 1) {
            done += (uint32_t)n;
            continue;
        }
        int why = SSL_get_error(s->ssl, 0);
        ERR_clear_error();
        if (why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ) break;
        return -1;
    }
    return done;
}

/* Write what waits. -1 when the connection is over. */
static inline int stream_flush(struct stream *s) {
    int64_t n = stream_write(s, s->queue + s->queue_at, stream_queued(s));
    if (n < 0) return -1;
    s->queue_at += (uint32_t)n;
    if (s->queue_at == s->queue_end) {
        free(s->queue);
        s->queue = NULL;
        s->queue_at = s->queue_end = s->queue_capacity = 0;
    }
    return 0;
}

/* Let bytes wait behind those that do. -1: no memory. */
static inline int stream_enqueue(struct stream *s, const uint8_t *data, uint32_t size) {
    uint32_t queued = stream_queued(s);
    if (size > s->queue_capacity - s->queue_end && s->queue_at >= queued) { /* what is moved is no more than what was written since */
        if (queued) memmove(s->queue, s->queue + s->queue_at, queued);
        s->queue_at = 0;
        s->queue_end = queued;
    }
    if (size > s->queue_capacity - s->queue_end) {
        uint32_t capacity = 2 * s->queue_capacity + size;
        uint8_t *queue = realloc(s->queue, capacity);
        if (!queue) return -1;
        s->queue = queue;
        s->queue_capacity = capacity;
    }
    memcpy(s->queue + s->queue_end, data, size);
    s->queue_end += size;
    return 0;
}

/* Write bytes behind those that wait; what does not go out at once waits too. -1: the connection is over. */
static inline int stream_put(struct stream *s, const uint8_t *data, uint32_t size) {
    int64_t n = stream_queued(s) ? 0 : stream_write(s, data, size);
    if (n < 0) return -1;
    return (uint32_t)n < size ? stream_enqueue(s, data + n, size - (uint32_t)n) : 0;
}

/* Keep the start of a message of `need` bytes, of which `size` are there. -1: no memory. */
static inline int stream_hold(struct stream *s, const uint8_t *data, uint32_t size, uint32_t need) {
    if (need < size) need = size;
    if (s->held_capacity < need) {
        uint8_t *held = malloc(need);
        if (!held) return -1;
        free(s->held);
        s->held = held;
        s->held_capacity = need;
    }
    memcpy(s->held, data, size);
    s->held_size = size;
    s->held_need = need;
    return 0;
}

static inline void stream_hold_nothing(struct stream *s) {
    free(s->held);
    s->held = NULL;
    s->held_size = s->held_capacity = s->held_need = 0;
}

/* Tell epoll what is waited for, where that has changed. What is to be done again waits for room to write, which there
 * mostly is: who does not read what is said to them is not heard either. */
static inline void stream_arm(struct stream *s, int epoll, uint64_t tag) {
    uint32_t wanted = EPOLLIN | (stream_queued(s) || s->again || s->wants_write ? (uint32_t)EPOLLOUT : 0u);
    if (wanted == s->armed) return;
    struct epoll_event event = {.events = wanted, .data = {.u64 = tag}};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, s->fd, &event) == 0) s->armed = wanted;
}

#endif
