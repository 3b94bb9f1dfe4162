/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/sim/sim-internal.h"

/*
 * What stands behind a descriptor that the simulated kernel handed out.
 *
 * Each is an open file description of the state file of its own. Its file offset says which entry it stands for, and in
 * which generation; duplicates share it, and nobody reads or seeks on it. It holds a lock on one byte, far beyond the
 * end of the file, which the real kernel drops when the last descriptor and the last mapping of it are gone: whoever
 * wants to know asks for that lock from another open file description.
 */

#define OFFSET_TAG_SHIFT        40
#define OFFSET_GENERATION_SHIFT 16
#define OFFSET_ENTRY_MASK       UINT64_C(0xffff)
#define GENERATION_MASK         UINT64_C(0xffffff)
#define LOCKS_START             (INT64_C(1) << 60)
#define LOCKS_SHIFT             32

static_assert(SIM_CONTEXTS_MAX <= OFFSET_ENTRY_MASK && SIM_CDEVS_MAX <= OFFSET_ENTRY_MASK,
              "an entry must fit into a file offset");

static struct flock lock_of(SimTag tag, uint32_t entry, short type) {
        return (struct flock){
                .l_type = type,
                .l_whence = SEEK_SET,
                .l_start = LOCKS_START + ((int64_t)tag << LOCKS_SHIFT) + entry,
                .l_len = 1,
        };
}

int sim_descriptor_new(SimKernel *s, SimTag tag, uint32_t entry, uint32_t generation, int *ret_fd) {
        char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
        _cleanup_close_ int fd = -1;
        struct flock lock = lock_of(tag, entry, F_RDLCK); /* pages have several */
        uint64_t offset = (uint64_t)tag << OFFSET_TAG_SHIFT |
                          (generation & GENERATION_MASK) << OFFSET_GENERATION_SHIFT |
                          (entry & OFFSET_ENTRY_MASK);

        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", s->state_fd);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
                return -errno;
        if (lseek(fd, (off_t)offset, SEEK_SET) < 0)
                return -errno;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

int sim_descriptor_identify(SimKernel *s, int fd, SimTag tag, uint32_t *ret_entry,
                            uint32_t *ret_generation) {
        struct stat stat;
        off_t offset;

        if (fstat(fd, &stat) < 0)
                return -errno;
        if (stat.st_dev != s->dev || stat.st_ino != s->ino)
                return -EBADF;

        offset = lseek(fd, 0, SEEK_CUR);
        if (offset < 0 || (uint64_t)offset >> OFFSET_TAG_SHIFT != tag)
                return -EBADF;

        *ret_entry = (uint32_t)((uint64_t)offset & OFFSET_ENTRY_MASK);
        *ret_generation = (uint32_t)((uint64_t)offset >> OFFSET_GENERATION_SHIFT & GENERATION_MASK);
        return 0;
}

bool sim_descriptor_is_held(SimKernel *s, SimTag tag, uint32_t entry) {
        struct flock lock = lock_of(tag, entry, F_WRLCK);
        int r;

        r = fcntl(s->state_fd, F_OFD_GETLK, &lock);
        assert(r >= 0);
        return lock.l_type != F_UNLCK;
}

/* Asking for one lock walks all that the file has, so asking for each of ten thousand is slow: /proc/locks lists them
 * in one go, as "1: OFDLCK ADVISORY  WRITE -1 00:01:1056 100 100". */
SimHeld *sim_held_snapshot(SimKernel *s) {
        _cleanup_free_ SimHeld *held = NULL;
        _cleanup_free_ char *line = NULL;
        size_t size = 0;
        FILE *f;

        held = new0(SimHeld, 1);
        f = fopen("/proc/locks", "re");
        if (!held || !f)
                goto finish;

        while (getline(&line, &size, f) > 0) {
                unsigned int major_number, minor_number;
                int64_t start;
                uint64_t ino, entry;
                char *p;

                p = strstr(line, "OFDLCK");
                if (!p || sscanf(p, "OFDLCK %*s %*s -1 %x:%x:%" SCNu64 " %" SCNd64, &major_number,
                                 &minor_number, &ino, &start) != 4)
                        continue;
                if (ino != s->ino || makedev(major_number, minor_number) != s->dev ||
                    start < LOCKS_START)
                        continue;

                entry = (uint64_t)start & UINT32_MAX;
                switch ((start - LOCKS_START) >> LOCKS_SHIFT) {
                case SIM_TAG_CONTEXT:
                        if (entry <= SIM_CONTEXTS_MAX)
                                sim_bit_set(held->contexts, (uint32_t)entry);
                        break;
                case SIM_TAG_CDEV:
                        if (entry <= SIM_CDEVS_MAX)
                                sim_bit_set(held->cdevs, (uint32_t)entry);
                        break;
                default:
                        break;
                }
        }

finish:
        if (f)
                (void)fclose(f);
        return f ? TAKE_PTR(held) : NULL;
}
