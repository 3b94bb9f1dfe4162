/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proof/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#define SAME_MAX      6 /* calls in a row that count */
#define OPS_MAX       32
#define TIME_FRACTION 1000 /* of a relative time */

int __real_openat(int dir, const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_renameat(int from, const char *name, int to, const char *new_name);
int __real_unlinkat(int dir, const char *path, int flags);
int __real_sd_pid_notify_with_fds(pid_t pid, int unset, const char *state, const int *fds,
                                  unsigned n_fds);
int __real_sd_notify_barrier(int unset, uint64_t timeout);
int __real_sd_event_add_time(sd_event *e, sd_event_source **ret, clockid_t clock, uint64_t usec,
                             uint64_t accuracy, sd_event_time_handler_t callback, void *userdata);
int __real_sd_event_add_time_relative(sd_event *e, sd_event_source **ret, clockid_t clock,
                                      uint64_t usec, uint64_t accuracy,
                                      sd_event_time_handler_t callback, void *userdata);

int __real_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int __wrap_openat(int dir, const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *p, size_t n);
int __wrap_renameat(int from, const char *name, int to, const char *new_name);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __wrap_sd_pid_notify_with_fds(pid_t pid, int unset, const char *state, const int *fds,
                                  unsigned n_fds);
int __wrap_sd_notify_barrier(int unset, uint64_t timeout);
int __wrap_sd_event_add_time(sd_event *e, sd_event_source **ret, clockid_t clock, uint64_t usec,
                             uint64_t accuracy, sd_event_time_handler_t callback, void *userdata);
int __wrap_sd_event_add_time_relative(sd_event *e, sd_event_source **ret, clockid_t clock,
                                      uint64_t usec, uint64_t accuracy,
                                      sd_event_time_handler_t callback, void *userdata);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool counting;
static uint64_t n_steps, deadly;
static char *last_name;
static char previous[STEPS_NAME_SIZE];
static unsigned n_same;

static StepClass failing_class;
static uint64_t failing_in; /* 0: nothing */
static int failing_error;
static bool failed;
static unsigned calls_max = UINT_MAX; /* of one kernel call that can be made to fail */
static uint64_t n_beyond;

static int record_fd = -1; /* that is being written */

/* ---- counting, dying ---- */

static bool counts(const char *name) {
        if (!streq(name, previous)) {
                (void)snprintf(previous, sizeof(previous), "%s", name);
                n_same = 0;
        }
        return n_same++ < SAME_MAX;
}

/* A kernel does not stop in the midst of a call because another thread of the process dies: what is in it comes out first. */
static pthread_cond_t came_out = PTHREAD_COND_INITIALIZER;
static unsigned n_inside;
static bool dying;

/* With the lock held, which is not given back. */
static _Noreturn void die(const char *name, bool before) {
        dying = true;
        while (n_inside > 0)
                (void)pthread_cond_wait(&came_out, &lock);
        (void)snprintf(last_name, STEPS_NAME_SIZE, "%s %.50s", before ? "before" : "after", name);
        _exit(STEPS_DEATH);
}

/* Takes the lock, for good when the process is dying. */
static void lock_alive(void) {
        (void)pthread_mutex_lock(&lock);
        while (dying)
                (void)pthread_cond_wait(&came_out, &lock);
}

static void step(const char *what, const char *more, bool before) {
        char name[STEPS_NAME_SIZE];

        lock_alive();
        (void)snprintf(name, sizeof(name), "%s%s", what, more);
        /* Before it is its own; after it the same call again would have to be told apart from a second one. */
        if (counting && (before ? counts(name) : n_same <= SAME_MAX) && ++n_steps == deadly)
                die(name, before);
        (void)pthread_mutex_unlock(&lock);
}

static void enter_kernel(void) {
        lock_alive();
        n_inside++;
        (void)pthread_mutex_unlock(&lock);
}

static void leave_kernel(void) {
        (void)pthread_mutex_lock(&lock);
        n_inside--;
        (void)pthread_cond_broadcast(&came_out);
        (void)pthread_mutex_unlock(&lock);
}

void steps_begin(uint64_t nth, char name[static STEPS_NAME_SIZE]) {
        (void)pthread_mutex_lock(&lock);
        counting = true;
        n_steps = 0;
        deadly = nth;
        last_name = name;
        previous[0] = '\0';
        (void)pthread_mutex_unlock(&lock);
}

/* ---- failing ---- */

void steps_fail(StepClass class, uint64_t nth, int error) {
        (void)pthread_mutex_lock(&lock);
        failing_class = class;
        failing_in = nth;
        failing_error = error;
        failed = false;
        n_beyond = 0;
        (void)pthread_mutex_unlock(&lock);
}

/* 0, or the errno with which this call is to fail. */
static int fault(StepClass class) {
        int error = 0;

        (void)pthread_mutex_lock(&lock);
        if (failing_in > 0 && class == failing_class && --failing_in == 0) {
                failed = true;
                error = failing_error;
        }
        (void)pthread_mutex_unlock(&lock);
        return error;
}

void steps_limit_calls(unsigned max) {
        calls_max = max;
}

uint64_t steps_get_beyond(void) {
        uint64_t n;

        (void)pthread_mutex_lock(&lock);
        n = n_beyond;
        (void)pthread_mutex_unlock(&lock);
        return n;
}

/* Of a call that is made again and again, as in rounds of asking, the first ones can. */
static bool can_fail(const char *op) {
        static struct {
                const char *op;
                unsigned n;
        } calls[OPS_MAX];
        bool can = false;

        if (streq(op, "vfmmio_unmap") || streq(op, "watch_drain") || streq(op, "free"))
                return false;
        (void)pthread_mutex_lock(&lock);
        if (failing_in == 0)
                memset(calls, 0, sizeof(calls));
        for (size_t i = 0; i < OPS_MAX; i++)
                if (!calls[i].op || streq(calls[i].op, op)) {
                        calls[i].op = op;
                        can = calls[i].n++ < calls_max;
                        n_beyond += !can;
                        break;
                }
        (void)pthread_mutex_unlock(&lock);
        return can;
}

void steps_hook(void *userdata, const char *op, bool before) {
        int error = before && can_fail(op) ? fault(STEP_KERNEL) : 0;

        if (!before)
                leave_kernel();
        step(op, "", before);
        if (before)
                enter_kernel();
        if (error > 0)
                (void)sim_inject_fault(userdata, op, 1, error);
}

uint64_t steps_end(bool *ret_failed) {
        uint64_t n;

        (void)pthread_mutex_lock(&lock);
        n = n_steps;
        if (ret_failed)
                *ret_failed = failed;
        counting = failed = false;
        failing_in = 0;
        (void)pthread_mutex_unlock(&lock);
        return n;
}

/* ---- the calls ---- */

/* The same around each: step, fault, the call, step. Does not clobber errno. */
#define STEP(class, what, more, call, failure)                                                     \
        ({                                                                                         \
                typeof(call) _r;                                                                   \
                int _error;                                                                        \
                                                                                                   \
                step((what), (more), true);                                                        \
                _error = fault(class);                                                             \
                _r = _error ? (failure) : (call);                                                  \
                if (!_error)                                                                       \
                        _error = errno;                                                            \
                step((what), (more), false);                                                       \
                errno = _error;                                                                    \
                _r;                                                                                \
        })

static bool is_record(const char *path) {
        return strstr(path, "vm-") || strstr(path, "prepared-") || strstr(path, "reservation-") ||
               strstr(path, "level-");
}

int __wrap_openat(int dir, const char *path, int flags, ...) {
        mode_t mode = 0;
        va_list ap;
        int r;

        va_start(ap, flags);
        if (flags & O_CREAT)
                mode = va_arg(ap, mode_t);
        va_end(ap);
        if (!is_record(path))
                return __real_openat(dir, path, flags, mode);
        if (!(flags & O_CREAT))
                return STEP(0, "open ", path, __real_openat(dir, path, flags, mode), -1);

        r = STEP(STEP_RECORD, "create ", path, __real_openat(dir, path, flags, mode), -1);
        record_fd = r;
        return r;
}

/* Half a record is written before the step in its midst. */
ssize_t __wrap_write(int fd, const void *p, size_t n) {
        if (fd != record_fd || fd < 0)
                return __real_write(fd, p, n);

        record_fd = -1;
        if (n > 1) {
                ssize_t half = __real_write(fd, p, n / 2), rest;

                if (half < 0)
                        return half;
                rest = STEP(STEP_RECORD, "write", "",
                            __real_write(fd, (const char *)p + half, n - (size_t)half), -1);
                return rest < 0 ? rest : half + rest;
        }
        return STEP(STEP_RECORD, "write", "", __real_write(fd, p, n), -1);
}

int __wrap_renameat(int from, const char *name, int to, const char *new_name) {
        return STEP(STEP_RECORD, "rename ", new_name, __real_renameat(from, name, to, new_name),
                    -1);
}

int __wrap_unlinkat(int dir, const char *path, int flags) {
        return STEP(STEP_RECORD, "unlink ", path, __real_unlinkat(dir, path, flags), -1);
}

int __wrap_sd_pid_notify_with_fds(pid_t pid, int unset, const char *state, const int *fds,
                                  unsigned n_fds) {
        const char *name = strchr(state, '=');

        return STEP(STEP_NOTIFY, n_fds > 0 ? "store" : "unstore", name ?: "",
                    __real_sd_pid_notify_with_fds(pid, unset, state, fds, n_fds), -_error);
}

void steps_barrier(void) {
        (void)__real_sd_notify_barrier(false, UINT64_C(1000000));
}

int __wrap_sd_notify_barrier(int unset, uint64_t timeout) {
        return STEP(STEP_NOTIFY, "barrier", "", __real_sd_notify_barrier(unset, timeout), -_error);
}

/* ---- time ---- */

int __wrap_sd_event_add_time(sd_event *e, sd_event_source **ret, clockid_t clock, uint64_t usec,
                             uint64_t accuracy, sd_event_time_handler_t callback, void *userdata) {
        return __real_sd_event_add_time(e, ret, clock, usec, accuracy ?: 1, callback, userdata);
}

int __wrap_sd_event_add_time_relative(sd_event *e, sd_event_source **ret, clockid_t clock,
                                      uint64_t usec, uint64_t accuracy,
                                      sd_event_time_handler_t callback, void *userdata) {
        return __real_sd_event_add_time_relative(e, ret, clock, usec / TIME_FRACTION, accuracy ?: 1,
                                                 callback, userdata);
}

/* What the daemon waits for is the service manager, and that is another process: it is waited for, however slow all is. */
int __wrap_nanosleep(const struct timespec *time, struct timespec *left) {
        steps_barrier();
        return __real_nanosleep(&(struct timespec){ .tv_nsec = time->tv_nsec / TIME_FRACTION },
                                left);
}
