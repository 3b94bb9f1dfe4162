/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The fd store against a stand-in for the service manager (service-manager.h): what it keeps, how
 * it is counted, what a restarted process finds, and what happens when it is full, slow or gone. */

#include "unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <systemd/sd-daemon.h>
#include <sys/wait.h>
#include <time.h>

#include "oom.h"
#include "service-manager.h"
#include "state/fd-name.h"
#include "state/fdstore.h"

static ServiceManager *manager;

static int set_up(void **state) {
        (void)state;
        manager = service_manager_start(8);
        service_manager_set_environment(manager);
        return 0;
}

static int tear_down(void **state) {
        (void)state;
        manager = service_manager_stop(manager);
        return 0;
}

static FdStore *new_store(void) {
        FdStore *store = NULL;

        assert_ok(fdstore_new(3, &store));
        return store;
}

/* A descriptor of an open file of its own, which can be told by its content. */
static int file(const char *content) {
        int fd = memfd_create("stored", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
        return fd;
}

static bool is_file(int fd, const char *content) {
        char text[64] = "";

        return pread(fd, text, sizeof(text) - 1, 0) >= 0 && streq(text, content);
}

static void add_file(FdStore *store, const char *name) {
        _cleanup_close_ int fd = file(name);

        assert_ok(fdstore_add(store, name, fd));
}

static size_t n_managed(void) {
        size_t n;

        (void)service_manager_list(manager, &n);
        return n;
}

/* ---- one process ---- */

static void what_is_added_is_kept(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        StoredFd *fds;
        size_t n;

        (void)state;
        assert_true(fdstore_is_there(store));
        assert_int_equal(fdstore_get_max(store), 8); /* $FDSTORE, not the default */
        assert_int_equal(fdstore_get_count(store), 0);
        fdstore_take(store, &fds, &n);
        assert_int_equal(n, 0);
        stored_fds_free(fds, n);

        add_file(store, "one");
        add_file(store, "two");
        assert_ok(fdstore_barrier(store));
        assert_int_equal(fdstore_get_count(store), 2);
        assert_int_equal(n_managed(), 2);
        assert_true(is_file(service_manager_find(manager, "one"), "one"));
        assert_true(is_file(service_manager_find(manager, "two"), "two"));
        assert_int_equal(service_manager_get_news(manager).n_barriers, 1);

        assert_ok(fdstore_remove(store, "one"));
        assert_ok(fdstore_barrier(store));
        assert_int_equal(fdstore_get_count(store), 1);
        assert_int_equal(n_managed(), 1);
        assert_int_equal(service_manager_find(manager, "one"), -1);
        assert_int_equal(service_manager_get_news(manager).n_messages, 5);
        add_file(store, "one");
        assert_ok(fdstore_remove(store, "one"));
        assert_ok(fdstore_remove(store, "two"));
        assert_int_equal(fdstore_get_count(store), 0);
        assert_int_equal(n_managed(), 0);
}

static void names_are_used_once(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        _cleanup_close_ int fd = file("another");
        unsigned n_messages;

        (void)state;
        add_file(store, "one");
        n_messages = service_manager_get_news(manager).n_messages;
        assert_error(fdstore_add(store, "one", fd), EEXIST);
        assert_int_equal(fdstore_get_count(store), 1);
        assert_true(fdstore_has(store, "one"));
        assert_false(fdstore_has(store, "never heard of"));
        assert_false(fdstore_has(NULL, "one"));
        assert_ok(fdstore_remove(store, "never heard of"));
        assert_error(fdstore_add(store, "two", -1), EBADF);
        assert_error(fdstore_add(store, "", fd), EINVAL);
        assert_error(fdstore_add(store, "a:b", fd), EINVAL);
        assert_error(fdstore_add(store, "a\nSTOPPING=1", fd), EINVAL);
        assert_error(fdstore_add(store, "\x7f", fd), EINVAL);
        assert_error(fdstore_add(store, "\xc3\xb6", fd), EINVAL);
        assert_int_equal(service_manager_get_news(manager).n_messages, n_messages);
        assert_true(is_file(service_manager_find(manager, "one"), "one"));
}

static void long_names(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        _cleanup_close_ int fd = file("long");
        char name[257];

        (void)state;
        memset(name, 'x', sizeof(name));
        name[256] = '\0';
        assert_error(fdstore_add(store, name, fd), EINVAL);
        name[255] = '\0';
        assert_ok(fdstore_add(store, name, fd));
        assert_true(is_file(service_manager_find(manager, name), "long"));
        assert_ok(fdstore_remove(store, name));
        assert_int_equal(n_managed(), 0);
}

/* Names of its own choice: what a manager takes, none twice, and not one that was free a moment ago. */
static void own_names(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        uint32_t ids[8], id;

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(ids); i++) {
                _cleanup_close_ int fd = file("own");

                assert_ok(fdstore_add_new(store, fd, ids + i));
                assert_true(service_manager_find(manager, FD_NAME_STRING(ids[i])) >= 0);
                for (size_t j = 0; j < i; j++)
                        assert_int_not_equal(ids[i], ids[j]);
        }
        {
                _cleanup_close_ int fd = file("one more");

                assert_error(fdstore_add_new(store, fd, &id), ENOSPC);
                assert_int_equal(id, 0);
                assert_error(fdstore_add_new(store, -1, &id), EBADF);
                assert_ok(fdstore_remove_id(store, 0));
                assert_int_equal(fdstore_get_count(store), 8);
                assert_ok(fdstore_remove_id(store, ids[3]));
                assert_int_equal(n_managed(), 7);
                assert_ok(fdstore_add_new(store, fd, &id));
                assert_int_not_equal(id, ids[3]);
        }
}

static void never_more_than_fits(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        _cleanup_close_ int fd = file("too much");
        char name[8] = "0";

        (void)state;
        for (; name[0] < '8'; name[0]++)
                add_file(store, name);
        assert_error(fdstore_add(store, "8", fd), ENOSPC);
        assert_int_equal(fdstore_get_count(store), 8);
        assert_ok(fdstore_remove(store, "3"));
        assert_ok(fdstore_add(store, "8", fd));
        assert_error(fdstore_add(store, "9", fd), ENOSPC);
        assert_true(is_file(service_manager_find(manager, "8"), "too much"));
        assert_int_equal(service_manager_get_news(manager).n_refused, 0);
}

/* The end of what a descriptor is of does not drop it: it is for the daemon to see. */
static void the_dead_are_kept(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        int pipes[2], pidfd;
        bool ended;
        pid_t pid;

        (void)state;
        assert_ok(pipe2(pipes, O_CLOEXEC));
        pid = fork();
        if (pid == 0)
                _exit(0);
        pidfd = pidfd_open(pid, 0);
        assert_true(pidfd >= 0);
        assert_ok(fdstore_add(store, "pipe", pipes[0]));
        assert_ok(fdstore_add(store, "leash", pidfd));
        fd_close(pipes[0]);
        fd_close(pipes[1]);
        fd_close(pidfd);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        for (unsigned i = 0; i < 3; i++)
                assert_ok(fdstore_barrier(store));
        assert_int_equal(n_managed(), 2);
        assert_ok(pidfd_has_ended(service_manager_find(manager, "leash"), &ended));
        assert_true(ended);
}

/* ---- a restart ---- */

/* Runs @body as the next process; what it finds is what is stored. */
static void in_the_next_process(void (*body)(FdStore *store)) {
        int status;
        pid_t pid;

        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                FdStore *store;

                service_manager_enter(manager);
                store = new_store();
                body(store);
                (void)fdstore_free(store);
                exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

#define CHECK(condition)                                                                           \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        print_error("%s:%i: %s\n", __FILE__, __LINE__, #condition);                \
                        _exit(1);                                                                  \
                }                                                                                  \
        } while (0)

static void finds_both(FdStore *store) {
        StoredFd *fds;
        size_t n;
        int fd;

        CHECK(fdstore_get_count(store) == 2);
        fdstore_take(store, &fds, &n);
        CHECK(n == 2);
        CHECK(streq(fds[0].name, "one") && is_file(fds[0].fd, "one"));
        CHECK(streq(fds[1].name, "two") && is_file(fds[1].fd, "two"));
        CHECK(fcntl(fds[0].fd, F_GETFD) == FD_CLOEXEC && fcntl(fds[1].fd, F_GETFD) == FD_CLOEXEC);
        CHECK(!getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES") && !getenv("LISTEN_PID"));
        CHECK(fdstore_get_count(store) == 2);

        /* They are in use, and are dropped by name. */
        fd = TAKE_FD(fds[0].fd);
        CHECK(fdstore_add(store, "one", fd) == -EEXIST);
        CHECK(fdstore_remove(store, "one") == 0);
        CHECK(fdstore_get_count(store) == 1);
        CHECK(fcntl(fd, F_GETFD) >= 0); /* ours is ours */
        CHECK(fdstore_add(store, "three", fd) == 0);
        stored_fds_free(fds, n);
        fdstore_take(store, &fds, &n);
        CHECK(!fds && n == 0); /* once */
}

static void finds_two_and_three(FdStore *store) {
        StoredFd *fds;
        size_t n;

        CHECK(fdstore_get_count(store) == 2);
        fdstore_take(store, &fds, &n);
        CHECK(n == 2);
        CHECK(streq(fds[0].name, "two") && is_file(fds[0].fd, "two"));
        CHECK(streq(fds[1].name, "three") && is_file(fds[1].fd, "one"));
        stored_fds_free(fds, n);
}

static void takes_nothing(FdStore *store) {
        CHECK(fcntl(3, F_GETFD) >= 0 && fcntl(4, F_GETFD) >= 0);
        CHECK(fdstore_free(store) == NULL);
        CHECK(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0);
        exit(0);
}

static void dies(FdStore *store) {
        int fd = file("last words");

        CHECK(fdstore_add(store, "last", fd) == 0);
        (void)kill(getpid(), SIGKILL);
}

static void what_is_stored_comes_back(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        pid_t pid;

        (void)state;
        add_file(store, "one");
        add_file(store, "two");
        in_the_next_process(finds_both);
        in_the_next_process(finds_two_and_three);
        in_the_next_process(takes_nothing);
        assert_int_equal(n_managed(), 2); /* which the manager keeps */

        /* What was sent before the end is heard. */
        pid = fork();
        if (pid == 0) {
                service_manager_enter(manager);
                dies(new_store());
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_true(is_file(service_manager_find(manager, "last"), "last words"));
}

/* ---- strange names ---- */

static void finds_strange_names(FdStore *store) {
        static const char *const names[] = {
                "", "twice", "twice", "a\\b c", "x\nSTOPPING=1", "\x7f"
        };
        StoredFd *fds;
        size_t n;

        fdstore_take(store, &fds, &n);
        CHECK(n == ELEMENTSOF(names));
        CHECK(fdstore_get_count(store) == n);
        for (size_t i = 0; i < n; i++)
                CHECK(streq(fds[i].name, names[i]));
        stored_fds_free(fds, n);

        CHECK(fdstore_remove(store, "twice") == 0);
        CHECK(fdstore_get_count(store) == 4);
        CHECK(fdstore_remove(store, "") == 0);
        CHECK(fdstore_remove(store, "x\nSTOPPING=1") == 0);
        CHECK(fdstore_remove(store, "\x7f") == 0);
        CHECK(fdstore_remove(store, "a\\b c") == 0);
        CHECK(fdstore_get_count(store) == 0);
        CHECK(fdstore_barrier(store) == 0);
}

static void strange_names(void **state) {
        _cleanup_close_ int fd = file("?");

        (void)state;
        service_manager_insert(manager, "", fd);
        service_manager_insert(manager, "twice", fd);
        service_manager_insert(manager, "twice", fd);
        service_manager_insert(manager, "a\\b c", fd);
        service_manager_insert(manager, "x\nSTOPPING=1", fd);
        service_manager_insert(manager, "\x7f", fd);
        in_the_next_process(finds_strange_names);
        /* What no manager can have a name for is not asked for. */
        assert_int_equal(n_managed(), 3);
        assert_int_equal(service_manager_get_news(manager).n_stopping, 0);
}

static void finds_more_than_fit(FdStore *store) {
        _cleanup_close_ int fd = file("one more");

        CHECK(fdstore_get_count(store) == 10 && fdstore_get_max(store) == 8);
        CHECK(fdstore_add(store, "one more", fd) == -ENOSPC);
        for (unsigned i = 0; i < 3; i++)
                CHECK(fdstore_remove(store, (char[]){ (char)('0' + i), 0 }) == 0);
        CHECK(fdstore_add(store, "one more", fd) == 0);
}

static void more_than_fit(void **state) {
        (void)state;
        for (unsigned i = 0; i < 10; i++) {
                _cleanup_close_ int fd = file("?");

                service_manager_insert(manager, (char[]){ (char)('0' + i), 0 }, fd);
        }
        in_the_next_process(finds_more_than_fit);
        assert_int_equal(n_managed(), 8);
}

/* The numbers of names and of descriptors differ. */
static void names_and_descriptors(void **state) {
        static const struct {
                const char *variable, *names[3];
        } cases[] = {
                { NULL, { "", "", "" } },         { "", { "", "", "" } },
                { "a:b", { "a", "b", "" } },      { "a:b:c", { "a", "b", "c" } },
                { "a:b:c:d", { "a", "b", "c" } }, { "::", { "", "", "" } },
        };

        (void)state;
        for_each_case(c, cases) {
                int status;
                pid_t pid;

                pid = fork();
                if (pid == 0) {
                        FdStore *store;
                        char text[16];
                        StoredFd *fds;
                        size_t n;

                        for (int i = 3; i < 6; i++)
                                CHECK(dup2(0, i) == i);
                        (void)snprintf(text, sizeof(text), "%i", (int)getpid());
                        (void)setenv("LISTEN_PID", text, 1);
                        (void)setenv("LISTEN_FDS", "3", 1);
                        if (c->variable)
                                (void)setenv("LISTEN_FDNAMES", c->variable, 1);
                        store = new_store();
                        fdstore_take(store, &fds, &n);
                        CHECK(n == 3);
                        for (size_t i = 0; i < n; i++)
                                CHECK(streq(fds[i].name, c->names[i]) && fds[i].fd == 3 + (int)i);
                        stored_fds_free(fds, n);
                        (void)fdstore_free(store);
                        exit(0);
                }
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(status, 0);
        }
}

/* What is meant for another process is not ours; what is no number is an error. */
static void of_others(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = NULL;

        (void)state;
        (void)setenv("LISTEN_PID", "1", 1);
        (void)setenv("LISTEN_FDS", "1", 1);
        store = new_store();
        assert_int_equal(fdstore_get_count(store), 0);
        fdstore_free(TAKE_PTR(store));
        (void)setenv("LISTEN_PID", "one", 1);
        (void)setenv("LISTEN_FDS", "1", 1);
        assert_int_equal(fdstore_new(3, &store), -EINVAL);
        assert_null(store);
        (void)unsetenv("LISTEN_PID");
        (void)unsetenv("LISTEN_FDS");
}

/* ---- the manager's ways ---- */

static void how_many(void **state) {
        static const struct {
                const char *variable;
                uint64_t max;
        } cases[] = {
                { NULL, 3 }, { "", 3 },   { "12", 12 }, { "-1", 3 },
                { "x", 3 },  { "1x", 3 }, { "+5", 3 },  { "99999999999999999999999", 3 },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(fdstore_freep) FdStore *store = NULL;

                if (c->variable)
                        (void)setenv("FDSTORE", c->variable, 1);
                else
                        (void)unsetenv("FDSTORE");
                store = new_store();
                assert_true(fdstore_is_there(store));
                assert_int_equal(fdstore_get_max(store), c->max);
        }
}

static void keeps_nothing(FdStore *store) {
        assert_false(fdstore_is_there(store));
        assert_int_equal(fdstore_get_max(store), UINT64_MAX);
        add_file(store, "one");
        add_file(store, "one");
        assert_int_equal(fdstore_get_count(store), 0);
        assert_ok(fdstore_remove(store, "one"));
        assert_ok(fdstore_barrier(store));
}

static void no_manager(void **state) {
        FdStore *store;

        (void)state;
        (void)setenv("FDSTORE", "0", 1);
        store = new_store();
        keeps_nothing(store);
        fdstore_free(store);
        assert_int_equal(service_manager_get_news(manager).n_messages, 0);

        (void)unsetenv("NOTIFY_SOCKET");
        (void)setenv("FDSTORE", "8", 1);
        store = new_store();
        keeps_nothing(store);
        fdstore_free(store);

        keeps_nothing(NULL);
        assert_null(fdstore_free(NULL));
}

static void a_slow_manager(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        struct timespec before, after;

        (void)state;
        fdstore_set_barrier_timeout(store, 50000);
        assert_ok(fdstore_barrier(store));
        service_manager_stall(manager, true);
        add_file(store, "one");
        (void)clock_gettime(CLOCK_MONOTONIC, &before);
        assert_error(fdstore_barrier(store), ETIMEDOUT);
        (void)clock_gettime(CLOCK_MONOTONIC, &after);
        assert_true((after.tv_sec - before.tv_sec) * 1000 +
                            (after.tv_nsec - before.tv_nsec) / 1000000 >=
                    49);
        assert_int_equal(n_managed(), 0);
        assert_true(fdstore_is_unsettled(store));
        service_manager_stall(manager, false);
        assert_true(fdstore_is_unsettled(store));
        assert_ok(fdstore_barrier(store));
        assert_false(fdstore_is_unsettled(store));
        assert_int_equal(n_managed(), 1);
}

static void ignore_signal(int number) {
        (void)number;
}

/* A signal is not an answer. */
static void interrupted(void **state) {
        const struct itimerval soon = { .it_value = { .tv_usec = 10000 } };
        const struct sigaction action = { .sa_handler = ignore_signal };
        _cleanup_(fdstore_freep) FdStore *store = new_store();

        (void)state;
        fdstore_set_barrier_timeout(store, 50000);
        service_manager_stall(manager, true);
        assert_ok(sigaction(SIGALRM, &action, NULL));
        assert_ok(setitimer(ITIMER_REAL, &soon, NULL));
        assert_error(fdstore_barrier(store), ETIMEDOUT);
        (void)signal(SIGALRM, SIG_DFL);
}

/* What could not be sent is not there, and what could not be removed is. */
static void a_manager_that_is_gone(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        _cleanup_close_ int fd = file("two");

        (void)state;
        add_file(store, "one");
        (void)setenv("NOTIFY_SOCKET", "@aviommu-nobody-listens", 1);
        assert_error(fdstore_add(store, "two", fd), ECONNREFUSED);
        assert_int_equal(fdstore_get_count(store), 1);
        assert_error(fdstore_remove(store, "one"), ECONNREFUSED);
        assert_int_equal(fdstore_get_count(store), 1);
        assert_error(fdstore_barrier(store), ECONNREFUSED);
        service_manager_set_environment(manager);
        assert_ok(fdstore_add(store, "two", fd));
        assert_ok(fdstore_remove(store, "one"));
        assert_int_equal(fdstore_get_count(store), 1);
        assert_int_equal(n_managed(), 1);
}

/* ---- many at once ---- */

static void *add_and_remove(void *userdata) {
        FdStore *store = userdata;
        _cleanup_close_ int fd = file("thread");
        char name[32];

        (void)snprintf(name, sizeof(name), "thread-%lx", (unsigned long)pthread_self());
        for (unsigned i = 0; i < 200; i++) {
                int r = fdstore_add(store, name, fd);

                if (r == -ENOSPC)
                        continue;
                if (r < 0 || fdstore_get_count(store) > 8 || fdstore_remove(store, name) < 0 ||
                    (i % 32 == 0 && fdstore_barrier(store) < 0))
                        return store;
        }
        return NULL;
}

static void many_threads(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        pthread_t threads[12];
        void *failed;

        (void)state;
        for_each_case(thread, threads)
                assert_ok(pthread_create(thread, NULL, add_and_remove, store));
        for_each_case(thread, threads) {
                assert_ok(pthread_join(*thread, &failed));
                assert_null(failed);
        }
        assert_int_equal(fdstore_get_count(store), 0);
        assert_int_equal(n_managed(), 0);
        /* More than fits was never sent. */
        assert_int_equal(service_manager_get_news(manager).n_refused, 0);
}

static void *remove_one(void *userdata) {
        return fdstore_remove(userdata, "one") < 0 ? userdata : NULL;
}

static void *add_one(void *userdata) {
        _cleanup_close_ int fd = file("two");

        return fdstore_add(userdata, "two", fd) < 0 ? userdata : NULL;
}

/* While threads wait for a manager whose queue is full, others get their answers. Two that remove
 * the same remove it once. */
static void sending_holds_no_lock(void **state) {
        _cleanup_(fdstore_freep) FdStore *store = new_store();
        unsigned n_sent = 0, n_before;
        pthread_t threads[3];
        void *failed;
        int fd;

        (void)state;
        add_file(store, "one");
        service_manager_stall(manager, true);

        /* Sockets of our own, connected to the manager's: the queue is full when a fresh one cannot send. One alone may come to
         * the end of its buffer first, where systemd has made the queue longer (net.unix.max_dgram_qlen). */
        do {
                n_before = n_sent;
                fd = service_manager_connect(manager);
                while (send(fd, "STATUS=", strlen("STATUS="), MSG_DONTWAIT) >= 0)
                        n_sent++;
                fd_close(fd);
        } while (n_sent > n_before);
        assert_true(n_sent > 0);

        for_each_case(thread, threads) assert_ok(
                pthread_create(thread, NULL, thread == threads ? add_one : remove_one, store));
        (void)usleep(20000);
        for (unsigned i = 0; i < 500 && fdstore_get_count(store) < 2; i++)
                (void)usleep(10000); /* they have only begun */
        /* Answered at once; the one place is still taken, the other one already. */
        assert_int_equal(fdstore_get_count(store), 2);
        service_manager_stall(manager, false);
        for_each_case(thread, threads) {
                assert_ok(pthread_join(*thread, &failed));
                assert_null(failed);
        }
        assert_int_equal(fdstore_get_count(store), 1);
        assert_true(is_file(service_manager_find(manager, "two"), "two"));
        assert_int_equal(n_managed(), 1);
}

/* ---- want of memory ---- */

static void memory_runs_out(void **state) {
        (void)state;
        OOM_SWEEP(nth, {
                _cleanup_(fdstore_freep) FdStore *store = NULL;
                int fd = file("?");
                int r = fdstore_new(3, &store);

                if (r == 0) {
                        r = fdstore_add(store, "one", fd);
                        assert_int_equal(fdstore_get_count(store), r == 0);
                        assert_ok(fdstore_remove(store, "one"));
                        assert_int_equal(fdstore_get_count(store), 0);
                }
                assert_true(r == 0 || r == -ENOMEM);
                fd_close(fd);
        });
        assert_int_equal(n_managed(), 0);
}

/* Without memory for what was passed, nothing is left open; the manager still has it. */
static void memory_runs_out_at_the_start(void **state) {
        bool succeeded = false;

        (void)state;
        {
                _cleanup_(fdstore_freep) FdStore *store = new_store();

                add_file(store, "one");
                add_file(store, "two");
        }
        for (uint64_t nth = 1; !succeeded; nth++) {
                int status;
                pid_t pid = fork();

                if (pid == 0) {
                        FdStore *store = NULL;
                        int r;

                        service_manager_enter(manager);
                        oom_arm(nth, 1);
                        r = fdstore_new(3, &store);
                        if (!oom_disarm()) {
                                CHECK(r == 0 && fdstore_get_count(store) == 2);
                                (void)fdstore_free(store);
                                exit(1);
                        }
                        CHECK(r == -ENOMEM && !store);
                        /* The first allocations come before the descriptors are looked at. */
                        if (!getenv("LISTEN_FDS"))
                                CHECK(fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0);
                        exit(0);
                }
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
                succeeded = WEXITSTATUS(status) == 1;
                assert_in_range(nth, 1, 100);
        }
        assert_int_equal(n_managed(), 2);
}

/* ---- the stand-in itself ---- */

/* It does as systemd does where our own code takes care that it need not. */
static void the_manners_of_a_manager(void **state) {
        _cleanup_close_ int fd = file("one"), again = -1;
        int pipes[2], one[1] = { fd };
        size_t n;

        (void)state;
        assert_true(sd_pid_notify_with_fds(0, false, "FDSTORE=1", one, 1) > 0);
        assert_int_equal(service_manager_list(manager, &n)->fd,
                         service_manager_find(manager, "stored"));
        /* The same open file again, by another number. */
        again = fd_dup(fd);
        one[0] = again;
        assert_true(sd_pid_notify_with_fds(0, false, "FDSTORE=1\nFDNAME=two", one, 1) > 0);
        assert_int_equal(n_managed(), 1);
        assert_int_equal(service_manager_get_news(manager).n_refused, 1);
        /* A removal without a name, and a barrier with something else. */
        assert_true(sd_notify(false, "FDSTOREREMOVE=1") > 0);
        assert_true(sd_notify(false, "BARRIER=1\nREADY=1\nSTATUS=Up.") > 0);
        assert_int_equal(n_managed(), 1);
        assert_int_equal(service_manager_get_news(manager).n_barriers, 0);
        assert_int_equal(service_manager_get_news(manager).n_ready, 1);
        assert_string_equal(service_manager_get_news(manager).status, "Up.");

        /* Without FDPOLL=0, what hangs up goes. */
        assert_ok(pipe2(pipes, O_CLOEXEC));
        one[0] = pipes[0];
        assert_true(sd_pid_notify_with_fds(0, false, "FDSTORE=1\nFDNAME=pipe", one, 1) > 0);
        fd_close(pipes[0]);
        assert_true(service_manager_find(manager, "pipe") >= 0);
        fd_close(pipes[1]);
        for (unsigned i = 0; i < 1000 && service_manager_find(manager, "pipe") >= 0; i++)
                (void)usleep(1000);
        assert_int_equal(service_manager_find(manager, "pipe"), -1);

        /* Tampering. */
        assert_true(service_manager_rename(manager, "stored", "other"));
        assert_false(service_manager_rename(manager, "stored", "other"));
        assert_true(is_file(service_manager_find(manager, "other"), "one"));
        assert_true(service_manager_drop(manager, "other"));
        assert_false(service_manager_drop(manager, "other"));
        service_manager_insert(manager, "a", fd);
        service_manager_insert(manager, "a", fd);
        assert_int_equal(n_managed(), 2);
        service_manager_clear(manager);
        assert_int_equal(n_managed(), 0);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(what_is_added_is_kept),
                TEST(names_are_used_once),
                TEST(long_names),
                TEST(own_names),
                TEST(never_more_than_fits),
                TEST(the_dead_are_kept),
                TEST(what_is_stored_comes_back),
                TEST(strange_names),
                TEST(more_than_fit),
                TEST(names_and_descriptors),
                TEST(of_others),
                TEST(how_many),
                TEST(no_manager),
                TEST(a_slow_manager),
                TEST(interrupted),
                TEST(a_manager_that_is_gone),
                TEST(many_threads),
                TEST(sending_holds_no_lock),
                TEST(memory_runs_out),
                TEST(memory_runs_out_at_the_start),
                TEST(the_manners_of_a_manager),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
