/* One TCP or TLS connection of a client, or one of a peer: reading, what is held of a message that is not whole, writing,
 * and what waits to be written. TLS is OpenSSL on the same non-blocking descriptor. Nothing here knows what the bytes mean.
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
    uint8_t paused; /* not read until the caller says what becomes of it */
    uint8_t end;   /* why it is over; 0: it is not */
    /* an end of a data connection (RFC 6062) */
    uint8_t spliced;   /* it is one, or was until it was over */
    uint8_t is_peer;   /* the peer's end */
    uint8_t finished;  /* nothing more comes from here */
    uint8_t told;      /* has been told that nothing more comes from the other end */
    uint8_t throttled; /* not read since the allocation's rate is used up */
    uint8_t away;      /* epoll is not asked: all that it would tell is known */
    uint32_t other;    /* the other end */
    uint32_t owner;    /* its allocation ... */
    uint32_t before, after; /* ... whose connections are a list of their clients' ends */
    int64_t moved_us;  /* when something last came from either end; here and below: kept at the client's */
    uint64_t bytes_in, bytes_out; /* from and to the client */
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
    if (s->fd >= 0) close(s->fd);
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

/* Read at most `room` bytes, which are more than none; how many came. `ended`: no more will, since the other side said so
 * (1) or the connection broke (-1). */
static inline uint32_t stream_receive(struct stream *s, uint8_t *out, uint32_t room, int *ended) {
    uint32_t got = 0;
    s->again = 0;
    if (!s->ssl) {
        ssize_t n = recv(s->fd, out, room, MSG_DONTWAIT);
        if (n > 0) return (uint32_t)n;
        if (n == 0) *ended = 1;
        else if (errno != EAGAIN && errno != EINTR) *ended = -1;
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
            *ended = why == SSL_ERROR_ZERO_RETURN ? 1 : -1;
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

/* Say that nothing more is written, when nothing waits: 1, 0 when it has to wait, -1 when the connection is over. */
static inline int stream_finish(struct stream *s) {
    if (!s->ssl) return shutdown(s->fd, SHUT_WR) == 0 ? 1 : -1;
    ERR_clear_error();
    int done = SSL_shutdown(s->ssl);
    int why = done < 0 ? SSL_get_error(s->ssl, done) : SSL_ERROR_NONE;
    ERR_clear_error();
    return done >= 0 ? 1 : why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -1;
}

/* Let the close that follows be seen as a connection cut off, not as the end of what was to be said. */
static inline void stream_abort(struct stream *s) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    s->open = 0; /* no word of TLS either */
}

/* Ask epoll for something else, where that has changed. */
static inline void stream_ask(struct stream *s, int epoll, uint64_t tag, uint32_t wanted) {
    if (wanted == s->armed) return;
    struct epoll_event event = {.events = wanted, .data = {.u64 = tag}};
    if (epoll_ctl(epoll, s->away ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &event) < 0) return;
    s->armed = wanted;
    s->away = 0;
}

/* Ask epoll no more until there is something to ask for: it tells of errors unasked. */
static inline void stream_leave(struct stream *s, int epoll) {
    if (epoll_ctl(epoll, EPOLL_CTL_DEL, s->fd, NULL) < 0) return;
    s->armed = 0;
    s->away = 1;
}

/* Tell epoll what is waited for. What is to be done again waits for room to write, which there mostly is: who does not read
 * what is said to them is not heard either. So does what is paused, for the caller's next look. */
static inline void stream_arm(struct stream *s, int epoll, uint64_t tag) {
    int out = stream_queued(s) || s->again || s->wants_write || s->paused;
    stream_ask(s, epoll, tag, (s->paused ? 0u : (uint32_t)EPOLLIN) | (out ? (uint32_t)EPOLLOUT : 0u));
}

#endif
