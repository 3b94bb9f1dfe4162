/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl map and unmap: guest memory out of files.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/fd-util.h"
#include "lib/format.h"

#define MAP_WRITABLE 1U

static int parse_size_argument(Ctl *ctl, const char *what, const char *argument, uint64_t *ret) {
        if (size_parse(argument, ret) < 0)
                return ctl_usage(ctl, "\"%s\" is not %s (a number, 0x..., or such as 64M)",
                                 argument, what);
        return 0;
}

/* Opens the file and, when no length is given, finds out how much there is from @offset on. */
static int open_file(Ctl *ctl, const char *path, uint64_t offset, bool has_length,
                     uint64_t *length) {
        _cleanup_close_ int fd = -1;
        struct stat st;

        fd = open(path,
                  (ctl->is_read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0) {
                int error = errno, code;

                code = error == ENOENT                     ? CLIENT_EXIT_NOT_FOUND
                       : error == EACCES || error == EPERM ? CLIENT_EXIT_DENIED
                                                           : CLIENT_EXIT_FAILED;
                return failure_set(&ctl->failure, code, -error,
                                   error == EACCES && !ctl->is_read_only
                                           ? "A file that may only be read is mapped with "
                                             "--read-only."
                                           : "Give a file on tmpfs or hugetlbfs, or a memfd as "
                                             "/proc/PID/fd/N.",
                                   "Cannot open %s: %s", path, strerror(error));
        }

        if (!has_length) {
                if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size <= offset)
                        return ctl_usage(ctl,
                                         "%s has nothing from byte %" PRIu64
                                         " on: LENGTH has to be given",
                                         path, offset);
                *length = (uint64_t)st.st_size - offset;
        }
        return TAKE_FD(fd);
}

int verb_map(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "mapping memory",
                                .is_change = true,
                                .can_be_stopped = true };
        uint64_t iova, length = 0, offset = 0;
        char uuid[UUID_STRING_SIZE], text[32];
        _cleanup_close_ int fd = -1;
        int r;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        r = parse_size_argument(ctl, "an IOVA", argv[2], &iova);
        if (r >= 0 && argc > 3)
                r = parse_size_argument(ctl, "a length", argv[3], &length);
        if (r >= 0 && argc > 4)
                r = parse_size_argument(ctl, "an offset", argv[4], &offset);
        if (r < 0)
                return r;
        fd = open_file(ctl, argv[1], offset, argc > 3, &length);
        if (fd < 0)
                return fd;

        options.uuid = uuid;
        r = ctl_call_vm(ctl, &options, "MapMemory", NULL, "htttu", fd, offset, length, iova,
                        ctl->is_read_only ? 0U : MAP_WRITABLE);
        if (r < 0)
                return r;
        (void)snprintf(text, sizeof(text), "0x%" PRIx64, iova);
        ctl_done(ctl, uuid, "iova", text, "Mapped %s at %s in %s.", FORMAT_BYTES(length), text,
                 uuid);
        return 0;
}

int verb_unmap(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "unmapping memory", .is_change = true };
        char uuid[UUID_STRING_SIZE], text[32];
        uint64_t iova, length;
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        r = parse_size_argument(ctl, "an IOVA", argv[1], &iova);
        if (r >= 0)
                r = parse_size_argument(ctl, "a length", argv[2], &length);
        if (r < 0)
                return r;

        options.uuid = uuid;
        r = ctl_call_vm(ctl, &options, "UnmapMemory", NULL, "tt", iova, length);
        if (r < 0)
                return r;
        (void)snprintf(text, sizeof(text), "0x%" PRIx64, iova);
        ctl_done(ctl, uuid, "iova", text, "Unmapped %s at %s in %s.", FORMAT_BYTES(length), text,
                 uuid);
        return 0;
}
