/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd-util.h"

/* libvirt puts name and UUID among the first few. */
#define ARGUMENTS_SIZE_MAX ((size_t)256 << 10)

const char *qemu_run_dir(char buf[static QEMU_RUN_DIR_SIZE]) {
        if (geteuid() == 0)
                (void)snprintf(buf, QEMU_RUN_DIR_SIZE, "/run/libvirt/qemu");
        else
                (void)snprintf(buf, QEMU_RUN_DIR_SIZE, "/run/user/%u/libvirt/qemu/run",
                               (unsigned)geteuid());
        return buf;
}

/* ---- whose arguments ---- */

static bool is_uuid(const char *word, const char *uuid) {
        char parsed[UUID_STRING_SIZE];

        return uuid_parse(word, parsed) >= 0 && streq(parsed, uuid);
}

/* "guest=NAME,debug-threads=on", commas in NAME doubled; or "NAME,..." alone, as QEMU takes it too. */
static bool is_name(const char *word, const char *name) {
        if (strncmp(word, "guest=", 6) == 0)
                word += 6;
        for (; *name; name++, word++) {
                if (*word != *name)
                        return false;
                if (*word == ',' && *++word != ',')
                        return false;
        }
        return *word == '\0' || (word[0] == ',' && word[1] != ',');
}

/* The argument after the first that is @option; NULL: none. */
static const char *find_value(const char *arguments, size_t length, const char *option) {
        const char *end = arguments + length;

        for (const char *p = arguments; p < end; p += strlen(p) + 1) {
                const char *next = p + strlen(p) + 1;

                if (streq(p, option) && next < end)
                        return next;
        }
        return NULL;
}

bool qemu_arguments_match(const char *arguments, size_t length, const char *name,
                          const char *uuid) {
        const char *value;

        /* Of an argument that is cut off nothing is known. */
        while (length > 0 && arguments[length - 1] != '\0')
                length--;

        value = find_value(arguments, length, "-uuid");
        if (value)
                return is_uuid(value, uuid);
        value = find_value(arguments, length, "-name");
        return value && is_name(value, name);
}

/* ---- the process ---- */

/* Reads a file to its end, at most @size bytes. Returns 0 or a negative errno. */
static int read_file(const char *path, char *buf, size_t size, size_t *ret_n) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct stat st;
        size_t n = 0;

        if (fd < 0)
                return negative_errno();
        if (fstat(fd, &st) < 0)
                return negative_errno();
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        while (n < size) {
                ssize_t k = read(fd, buf + n, size - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return negative_errno();
                if (k == 0)
                        break;
                n += (size_t)k;
        }
        *ret_n = n;
        return 0;
}

static int read_pid(const char *path, pid_t *ret) {
        char text[32];
        uint64_t pid;
        size_t n;
        int r;

        r = read_file(path, text, sizeof(text) - 1, &n);
        if (r < 0)
                return r;
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
                n--;
        text[n] = '\0';
        if (strspn(text, "0123456789") != n || number_parse(text, &pid) < 0 || pid == 0 ||
            pid > INT32_MAX)
                return -EBADMSG;
        *ret = (pid_t)pid;
        return 0;
}

/* A process that is on its way out has no arguments any more. */
static int check_arguments(pid_t pid, const char *name, const char *uuid) {
        _cleanup_free_ char *arguments = malloc(ARGUMENTS_SIZE_MAX);
        char path[64];
        size_t n;
        int r;

        if (!arguments)
                return -ENOMEM;
        (void)snprintf(path, sizeof(path), "/proc/%i/cmdline", (int)pid);
        r = read_file(path, arguments, ARGUMENTS_SIZE_MAX, &n);
        if (r == -ENOENT || (r >= 0 && n == 0))
                return -ESRCH;
        if (r < 0)
                return r;
        return qemu_arguments_match(arguments, n, name, uuid) ? 0 : -EXDEV;
}

static int open_checked(const char *path, const char *name, const char *uuid, pid_t *pid) {
        _cleanup_close_ int pidfd = -1;
        pid_t again = 0;
        bool ended;
        int r;

        r = read_pid(path, pid);
        if (r < 0)
                return r;
        pidfd = pidfd_open(*pid, 0);
        if (pidfd < 0)
                return errno == EINVAL ? -ESRCH : negative_errno(); /* EINVAL: of a thread */
        r = check_arguments(*pid, name, uuid);
        if (r < 0)
                return r;
        r = read_pid(path, &again);
        if (r < 0)
                return r;
        if (again != *pid)
                return -EAGAIN;
        r = pidfd_has_ended(pidfd, &ended);
        if (r < 0)
                return r;
        return ended ? -ESRCH : TAKE_FD(pidfd);
}

int qemu_open(const char *run_dir, const char *name, const char *uuid, Failure *reterr) {
        const char *what = NULL;
        char path[4096];
        pid_t pid = 0;
        int r;

        if (!*name || strchr(name, '/') ||
            (size_t)snprintf(path, sizeof(path), "%s/%s.pid", run_dir, name) >= sizeof(path))
                return failure_set(reterr, CLIENT_EXIT_FAILED, -EINVAL, NULL,
                                   "\"%s\" is no name of a domain", name);

        /* Once more, if it was just written. */
        r = open_checked(path, name, uuid, &pid);
        if (r == -EAGAIN)
                r = open_checked(path, name, uuid, &pid);
        if (r >= 0)
                return r;

        if (r == -ENOENT)
                what = "is not there";
        else if (r == -EBADMSG)
                what = "has no process id in it";
        else if (r == -EAGAIN)
                what = "changes while it is read";
        if (what)
                return failure_set(reterr, CLIENT_EXIT_NOT_FOUND, r, NULL, "libvirt's %s %s", path,
                                   what);
        if (r == -ESRCH)
                what = "has ended";
        else if (r == -EXDEV)
                what = "is not the domain's QEMU";
        if (what)
                return failure_set(reterr, CLIENT_EXIT_NOT_FOUND, r, NULL, "process %i of %s %s",
                                   (int)pid, path, what);
        return failure_set(reterr, CLIENT_EXIT_FAILED, r, NULL, "process %i of %s: %s", (int)pid,
                           path, strerror(-r));
}
