/* One timer among the descriptors that epoll watches. */
#ifndef ORCHARD_TIMER_H
#define ORCHARD_TIMER_H

#include <stdint.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* A descriptor, or -1 and errno. */
static inline int timer_make(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC); }

/* Let it become readable once, so much later (more than nothing, less than a second). */
static inline void timer_set(int fd, int64_t after_ns) {
    struct itimerspec at;
    memset(&at, 0, sizeof at);
    at.it_value.tv_nsec = (long)after_ns;
    timerfd_settime(fd, 0, &at, NULL);
}

/* It has come: let it be readable no more. */
static inline void timer_take(int fd) {
    uint64_t times;
    while (read(fd, &times, sizeof times) == (ssize_t)sizeof times) {
    }
}

#endif
