/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who has a device open, and who has it from whom: here with /dev/full in place of /dev/iommu, and the test as the daemon. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "lib/holders.h"

#define DEVICE "/dev/full"

/* A process that has of @given and of its own so many descriptors, and nothing else of the device. */
static pid_t holder(int given, unsigned n_given, unsigned n_own) {
        int ready[2];
        char c;
        pid_t pid;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)prctl(PR_SET_NAME, "a holder)\n(");
                for (unsigned i = 0; i < n_given; i++)
                        (void)!dup(given);
                for (unsigned i = 0; i < n_own; i++)
                        (void)open(DEVICE, O_RDWR);
                (void)close(given);
                (void)!write(ready[1], "x", 1);
                for (;;)
                        (void)pause();
        }
        assert_true(pid > 0);
        (void)close(ready[1]);
        assert_int_equal(read(ready[0], &c, 1), 1);
        (void)close(ready[0]);
        return pid;
}

static void gone(pid_t pid) {
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Without a name: what has the device under another one is found all the same. */
static int scan_device(pid_t daemon, pid_t service_manager, HolderScan *ret) {
        _cleanup_close_ int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct stat st;

        assert_int_equal(stat(DEVICE, &st), 0);
        return holders_scan(&(HolderScope){ .proc_fd = proc_fd,
                                            .node = "/dev/none",
                                            .device = st.st_rdev,
                                            .daemon = daemon,
                                            .service_manager = service_manager },
                            ret);
}

static const Holder *find(const HolderScan *s, pid_t pid) {
        for (size_t i = 0; i < s->n; i++)
                if (s->items[i].pid == pid)
                        return &s->items[i];
        return NULL;
}

static void assert_holder(const HolderScan *s, pid_t pid, HolderKind kind, unsigned n_open,
                          unsigned n_granted) {
        const Holder *h = find(s, pid);

        assert_non_null(h);
        assert_string_equal(holder_kind_to_string(h->kind), holder_kind_to_string(kind));
        assert_int_equal(h->n_open, n_open);
        assert_int_equal(h->n_granted, n_granted);
        assert_int_equal(h->uid, geteuid());
}

static void scan(void **state) {
        _cleanup_close_ int one = open(DEVICE, O_RDWR | O_CLOEXEC),
                            two = open(DEVICE, O_RDWR | O_CLOEXEC),
                            other = open("/dev/null", O_RDWR | O_CLOEXEC);
        _cleanup_(holder_scan_done) HolderScan s = {};
        pid_t granted, mixed, single, none;

        (void)state;
        if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, two) < 0)
                skip(); /* where it is forbidden */
        /* A child has both of these too, but for the one that it is given last. */
        (void)fcntl(two, F_SETFD, FD_CLOEXEC);
        granted = holder(one, 2, 0);
        mixed = holder(one, 0, 1);
        single = holder(two, 0, 0);
        none = holder(other, 1, 0);

        assert_int_equal(scan_device(getpid(), 0, &s), 0);
        assert_holder(&s, getpid(), HOLDER_DAEMON, 2, 2);
        assert_holder(&s, granted, HOLDER_GRANTED, 3, 3); /* two of one, and the other */
        assert_holder(&s, mixed, HOLDER_OTHER, 2, 1);
        assert_holder(&s, single, HOLDER_GRANTED, 1, 1);
        assert_holder(&s, none, HOLDER_GRANTED, 2, 2);
        assert_string_equal(find(&s, granted)->command, "a holder)");
        for (size_t i = 1; i < s.n; i++)
                assert_true(s.items[i - 1].pid < s.items[i].pid);
        holder_scan_done(&s);

        /* The same without a daemon: then nobody has it from one. */
        assert_int_equal(scan_device(0, 0, &s), 0);
        assert_holder(&s, getpid(), HOLDER_OTHER, 2, 0);
        assert_holder(&s, granted, HOLDER_OTHER, 3, 0);
        holder_scan_done(&s);

        /* What the service manager keeps while the daemon is away was given out as well. */
        assert_int_equal(scan_device(0, getpid(), &s), 0);
        assert_holder(&s, getpid(), HOLDER_SERVICE_MANAGER, 2, 2);
        assert_holder(&s, mixed, HOLDER_OTHER, 2, 1);

        gone(granted);
        gone(mixed);
        gone(single);
        gone(none);
}

/* A /proc with the process @pid, whose descriptor @fd is open on the device. */
static void add_process(const char *proc, pid_t pid, int fd) {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s/%i", proc, pid);
        assert_int_equal(mkdir(path, 0700), 0);
        (void)snprintf(path, sizeof(path), "%s/%i/fd", proc, pid);
        assert_int_equal(mkdir(path, 0700), 0);
        (void)snprintf(path, sizeof(path), "%s/%i/fd/%i", proc, pid, fd);
        assert_int_equal(symlink(DEVICE, path), 0);
}

static void remove_process(const char *proc, pid_t pid, int fd) {
        char path[64];

        (void)snprintf(path, sizeof(path), "%s/%i/fd/%i", proc, pid, fd);
        assert_int_equal(unlink(path), 0);
        (void)snprintf(path, sizeof(path), "%s/%i/fd", proc, pid);
        assert_int_equal(rmdir(path), 0);
        (void)snprintf(path, sizeof(path), "%s/%i", proc, pid);
        assert_int_equal(rmdir(path), 0);
}

static void scan_closed(const char *proc, pid_t daemon, HolderScan *ret) {
        _cleanup_close_ int proc_fd = open(proc, O_PATH | O_DIRECTORY | O_CLOEXEC);

        assert_int_equal(
                holders_scan(&(HolderScope){ .proc_fd = proc_fd, .node = DEVICE, .daemon = daemon },
                             ret),
                0);
}

/* What is closed between looking and comparing: that of the daemon says nothing of what others have. */
static void closed(void **state) {
        _cleanup_close_ int one = open(DEVICE, O_RDWR | O_CLOEXEC);
        _cleanup_(holder_scan_done) HolderScan s = {};
        char proc[] = "/tmp/test-holders-XXXXXX";
        pid_t daemon, has, has_closed;

        (void)state;
        if (syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, one, one) < 0)
                skip();
        assert_non_null(mkdtemp(proc));
        daemon = holder(-1, 0, 0);
        has = getpid();
        has_closed = holder(-1, 0, 0);
        add_process(proc, daemon, 999);
        add_process(proc, has, one);
        add_process(proc, has_closed, 999);

        scan_closed(proc, daemon, &s);
        assert_holder(&s, has, HOLDER_UNKNOWN, 1, 0);
        assert_null(find(&s, has_closed));
        holder_scan_done(&s);

        /* And the whole of it. */
        gone(daemon);
        scan_closed(proc, daemon, &s);
        assert_holder(&s, has, HOLDER_UNKNOWN, 1, 0);
        assert_null(find(&s, has_closed));

        gone(has_closed);
        remove_process(proc, daemon, 999);
        remove_process(proc, has, one);
        remove_process(proc, has_closed, 999);
        assert_int_equal(rmdir(proc), 0);
}

static void decisions(void **state) {
        (void)state;
        assert_int_equal(holder_decide(&(Holder){ .pid = 5, .n_open = 2 }, 5, 1), HOLDER_DAEMON);
        assert_int_equal(holder_decide(&(Holder){ .pid = 1, .n_open = 2 }, 5, 1),
                         HOLDER_SERVICE_MANAGER);
        assert_int_equal(holder_decide(&(Holder){ .pid = 9, .n_open = 2, .n_granted = 2 }, 5, 1),
                         HOLDER_GRANTED);
        assert_int_equal(holder_decide(&(Holder){ .pid = 9, .n_open = 2, .n_granted = 1 }, 5, 1),
                         HOLDER_OTHER);
        /* One that is another's for certain says more than one that is unclear. */
        assert_int_equal(
                holder_decide(&(Holder){ .pid = 9, .n_open = 3, .n_granted = 1, .n_unclear = 1 }, 5,
                              1),
                HOLDER_OTHER);
        assert_int_equal(
                holder_decide(&(Holder){ .pid = 9, .n_open = 2, .n_granted = 1, .n_unclear = 1 }, 5,
                              1),
                HOLDER_UNKNOWN);
        /* No daemon: nobody is it, whatever his number. */
        assert_int_equal(holder_decide(&(Holder){ .pid = 9, .n_open = 1 }, 0, 1), HOLDER_OTHER);
}

/* Who may not look at others' descriptors is told how much was not seen. */
static void unprivileged(void **state) {
        int status;
        pid_t pid;

        (void)state;
        if (geteuid() != 0)
                skip();
        pid = fork();
        if (pid == 0) {
                HolderScan s = {};

                if (setuid(65534) < 0 || scan_device(0, 0, &s) < 0)
                        _exit(2);
                _exit(s.n_unread > 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(scan),
                cmocka_unit_test(closed),
                cmocka_unit_test(decisions),
                cmocka_unit_test(unprivileged),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
