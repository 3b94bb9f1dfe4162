/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/watch.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/client.h"

/* What the work leaves of its time. */
#define SLACK_USEC ((uint64_t)500000)

int watch_start(Watch *w, uint64_t timeout_usec) {
        pthread_condattr_t attributes;
        int r;

        *w = (Watch){ .start_usec = now_usec(), .timeout_usec = timeout_usec };
        r = pthread_condattr_init(&attributes);
        if (r != 0)
                return -r;
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        r = pthread_cond_init(&w->news, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        if (r == 0)
                r = pthread_mutex_init(&w->lock, NULL);
        return -r;
}

void watch_set_timeout(Watch *w, uint64_t timeout_usec) {
        (void)pthread_mutex_lock(&w->lock);
        w->timeout_usec = timeout_usec;
        (void)pthread_cond_signal(&w->news);
        (void)pthread_mutex_unlock(&w->lock);
}

void watch_set_last_word(Watch *w, int exit_code, const char *format, ...) {
        va_list ap;

        (void)pthread_mutex_lock(&w->lock);
        w->exit_code = exit_code;
        va_start(ap, format);
        (void)vsnprintf(w->last_word, sizeof(w->last_word), format, ap);
        va_end(ap);
        (void)pthread_mutex_unlock(&w->lock);
}

uint64_t watch_left(Watch *w) {
        uint64_t timeout = watch_get_timeout(w), slack = MIN(timeout / 10, SLACK_USEC),
                 end = w->start_usec + timeout - slack, now = now_usec();

        return end > now ? end - now : 0;
}

uint64_t watch_get_timeout(Watch *w) {
        uint64_t timeout;

        (void)pthread_mutex_lock(&w->lock);
        timeout = w->timeout_usec;
        (void)pthread_mutex_unlock(&w->lock);
        return timeout;
}

void watch_finish(Watch *w, int exit_code) {
        (void)pthread_mutex_lock(&w->lock);
        w->is_finished = true;
        w->exit_code = exit_code;
        (void)pthread_cond_signal(&w->news);
        (void)pthread_mutex_unlock(&w->lock);
}

/* Whoever reads may have stopped to: no more than what is taken at once. */
static _Noreturn void give_up(const char *last_word, int exit_code) {
        struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };

        if (*last_word && poll(&p, 1, 0) > 0 && (p.revents & POLLOUT))
                (void)!write(STDERR_FILENO, last_word, strlen(last_word));
        _exit(exit_code);
}

int watch_wait(Watch *w) {
        (void)pthread_mutex_lock(&w->lock);
        while (!w->is_finished) {
                uint64_t end = w->start_usec + w->timeout_usec;
                struct timespec until = { .tv_sec = (time_t)(end / 1000000),
                                          .tv_nsec = (long)(end % 1000000) * 1000 };

                if (end <= now_usec())
                        give_up(w->last_word, w->exit_code);
                (void)pthread_cond_timedwait(&w->news, &w->lock, &until);
        }
        (void)pthread_mutex_unlock(&w->lock);
        return w->exit_code;
}
