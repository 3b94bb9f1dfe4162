/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/sim/sim-internal.h"

/*
 * Creating, opening and locking the state file.
 *
 * The mutex in the state serves threads and processes alike: it is robust, so that the next one gets it when its owner
 * has died, and unlike a file lock it isn't shared with forked children.
 */

/* "" where it is hidden: a state then lasts as long as its file. */
static void read_boot_id(char ret[static 40]) {
        _cleanup_close_ int fd = -1;
        ssize_t n = -1;

        fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
                n = read(fd, ret, 39);
        ret[MAX(n, 0)] = '\0';
}

/* An open file description of our own for the file behind @fd. */
static int reopen(int fd) {
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

static int mutex_create(pthread_mutex_t *mutex) {
        pthread_mutexattr_t attr;
        int r;

        r = pthread_mutexattr_init(&attr);
        if (r == 0)
                r = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        if (r == 0)
                r = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        if (r == 0)
                r = pthread_mutex_init(mutex, &attr);
        (void)pthread_mutexattr_destroy(&attr);
        return -r;
}

/* Fills a zeroed state. The magic comes last: a state without it was never finished. */
static int state_create(SimState *st, const char *profile, const char *boot_id,
                        Problem *reterr_problem) {
        int r;

        if (!profile)
                return problem_set(reterr_problem, PROBLEM_INVALID_ARGUMENT,
                                   "A new simulated host needs a profile, and none was named.");

        st->version = SIM_STATE_VERSION;
        st->size = sizeof(SimState);
        (void)snprintf(st->boot_id, sizeof(st->boot_id), "%s", boot_id);
        r = mutex_create(&st->mutex);
        if (r < 0)
                return r;

        r = sim_profile_load(st, profile, reterr_problem);
        if (r < 0)
                return r;

        memcpy(st->magic, SIM_STATE_MAGIC, sizeof(st->magic));
        return 0;
}

static int refuse_state(Problem *reterr_problem) {
        return problem_set(reterr_problem, PROBLEM_INVALID_ARGUMENT,
                           "The file given as state of the simulated host is none.");
}

static int state_check(const SimState *st, off_t size, Problem *reterr_problem) {
        if (memcmp(st->magic, SIM_STATE_MAGIC, sizeof(st->magic)) != 0)
                return refuse_state(reterr_problem);
        if (st->version != SIM_STATE_VERSION || st->size != sizeof(SimState) ||
            size != (off_t)SIM_FILE_SIZE)
                return problem_set(reterr_problem, PROBLEM_INVALID_ARGUMENT,
                                   "The state of the simulated host has version %" PRIu32
                                   ", this program needs %i: start a new one.",
                                   st->version, SIM_STATE_VERSION);
        return 0;
}

static bool state_is_stale(const SimState *st, off_t size, const char *boot_id) {
        return size == (off_t)SIM_FILE_SIZE &&
               memcmp(st->magic, SIM_STATE_MAGIC, sizeof(st->magic)) == 0 &&
               !streq(st->boot_id, boot_id);
}

/* Maps the state, making it anew if it is empty or of another boot. Under an exclusive flock(2), so that two processes
 * that start at once agree on who creates it. */
static int state_map(SimKernel *s, const char *profile, Problem *reterr_problem) {
        char boot_id[40];
        struct stat stat;
        bool create;
        void *p;
        int r;

        read_boot_id(boot_id);
        if (fstat(s->state_fd, &stat) < 0)
                return -errno;
        s->dev = stat.st_dev;
        s->ino = stat.st_ino;

        create = stat.st_size == 0;
        if (create && ftruncate(s->state_fd, (off_t)SIM_FILE_SIZE) < 0)
                return -errno;
        if (!create && stat.st_size < (off_t)sizeof(SimState))
                return refuse_state(reterr_problem);

        p = mmap(NULL, sizeof(SimState), PROT_READ | PROT_WRITE, MAP_SHARED, s->state_fd, 0);
        if (p == MAP_FAILED)
                return -errno;
        s->state = p;

        if (!create && state_is_stale(s->state, stat.st_size, boot_id)) {
                if (ftruncate(s->state_fd, 0) < 0 ||
                    ftruncate(s->state_fd, (off_t)SIM_FILE_SIZE) < 0)
                        return -errno;
                create = true;
        }
        if (!create)
                return state_check(s->state, stat.st_size, reterr_problem);

        r = state_create(s->state, profile, boot_id, reterr_problem);
        if (r < 0)
                (void)!ftruncate(s->state_fd, 0); /* as it was: empty */
        return r;
}

int sim_state_open(SimKernel *s, const char *profile, int state_fd, Problem *reterr_problem) {
        _cleanup_close_ int created = -1;
        int r;

        s->state_fd = -1;
        if (state_fd < 0) {
                state_fd = created = memfd_create("aviommud-sim", MFD_CLOEXEC);
                if (created < 0)
                        return -errno;
        }

        s->state_fd = reopen(state_fd);
        if (s->state_fd < 0)
                return s->state_fd;
        if (flock(s->state_fd, LOCK_EX) < 0)
                return -errno;

        r = state_map(s, profile, reterr_problem);
        (void)flock(s->state_fd, LOCK_UN);
        return r;
}

void sim_state_close(SimKernel *s) {
        if (s->state)
                (void)munmap(s->state, sizeof(SimState));
        s->state = NULL;
        s->state_fd = fd_close(s->state_fd);
}

SimKernel *sim_lock(SimKernel *s) {
        int r;

        r = pthread_mutex_lock(&s->state->mutex);
        if (r == EOWNERDEAD) {
                s->state->torn = true;
                r = pthread_mutex_consistent(&s->state->mutex);
        }
        assert(r == 0);
        return s;
}

void sim_unlock(SimKernel *s) {
        int r;

        r = pthread_mutex_unlock(&s->state->mutex);
        assert(r == 0);
}

void sim_wake(SimState *st, bool changed) {
        if (changed)
                __atomic_add_fetch(&st->change_seq, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&st->wake_seq, 1, __ATOMIC_SEQ_CST);
        (void)syscall(SYS_futex, &st->wake_seq, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
