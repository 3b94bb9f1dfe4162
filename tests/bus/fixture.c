/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Processes, connections and signals: the life of a test. */

#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd-util.h"

#define DEADLINE_USEC UINT64_C(30000000)

static const char *broker;

uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int bus_tests_arguments(int argc, char **argv) {
        if (argc < 2 || (!streq(argv[1], "dbus-daemon") && !streq(argv[1], "dbus-broker"))) {
                (void)fprintf(stderr, "usage: %s dbus-daemon|dbus-broker [PATTERN]\n", argv[0]);
                return -EINVAL;
        }
        broker = argv[1];
        if (argc > 2)
                cmocka_set_test_filter(argv[2]);
        (void)signal(SIGPIPE, SIG_IGN);
        return 0;
}

/* ---- processes ---- */

/* In a fresh child: ends with the test, and begins without what the test has open or blocked. */
static void child_begin(pid_t parent) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);
}

/* Starts a program that is given @inherited under its own number, @log as its stderr (-1: none), and what @manager keeps. */
static pid_t spawn(const char *const argv[], int inherited, int log, ServiceManager *manager) {
        pid_t parent = getpid(), pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                child_begin(parent);
                if (inherited >= 0)
                        (void)fcntl(inherited, F_SETFD, 0);
                if (log >= 0)
                        (void)dup2(log, STDERR_FILENO);
                if (manager)
                        service_manager_enter(manager);
                (void)execvp(argv[0], (char **)(uintptr_t)argv);
                (void)fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
                _exit(127);
        }
        return pid;
}

/* Waits for a child to end. Returns its wait status, or -1 when it does not in time. */
static int wait_ended(Fixture *f, pid_t pid) {
        uint64_t deadline = now_usec() + DEADLINE_USEC;
        int status;

        for (;;) {
                pid_t p = waitpid(pid, &status, WNOHANG);

                if (p == pid)
                        return status;
                if (p < 0 || now_usec() > deadline)
                        return -1;
                fixture_serve(f, 2000);
        }
}

pid_t fixture_fork(Fixture *f) {
        pid_t parent = getpid(), pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                child_begin(parent);
                return 0;
        }
        for (size_t i = 0; i < ELEMENTSOF(f->children); i++)
                if (f->children[i] == 0) {
                        f->children[i] = pid;
                        return pid;
                }
        fail_msg("too many children");
        return -1;
}

void fixture_kill(Fixture *f, pid_t pid) {
        for (size_t i = 0; i < ELEMENTSOF(f->children); i++)
                if (f->children[i] == pid)
                        f->children[i] = 0;
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
}

int fixture_pidfd(pid_t pid) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);

        assert_true(fd >= 0);
        return fd;
}

static void write_file(const Fixture *f, const char *name, const char *head, const char *text,
                       const char *tail, char ret_path[static 96]) {
        FILE *file;

        (void)snprintf(ret_path, 96, "%s/%s", f->folder, name);
        file = fopen(ret_path, "we");
        assert_non_null(file);
        assert_true(fprintf(file, "%s%s%s", head, text, tail) > 0);
        assert_int_equal(fclose(file), 0);
}

static void start_bus(Fixture *f) {
        char path[96], config[128], address[160], print[32], line[256] = "";
        int pipe_fds[2];

        (void)snprintf(f->address, sizeof(f->address), "unix:path=%s/bus", f->folder);
        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
        (void)snprintf(print, sizeof(print), "--print-address=%i", pipe_fds[1]);
        if (streq(broker, "dbus-daemon")) {
                write_file(
                        f, "bus.conf",
                        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration "
                        "1.0//EN\" \"http://www.freedesktop.org/standards/dbus/1.0/"
                        "busconfig.dtd\">\n<busconfig><listen>",
                        f->address,
                        "</listen><auth>EXTERNAL</auth><policy context=\"default\">"
                        "<allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/>"
                        "<allow send_type=\"*\"/><allow receive_type=\"*\"/></policy>"
                        "<limit name=\"max_connections_per_user\">1024</limit></busconfig>\n",
                        path);
                (void)snprintf(config, sizeof(config), "--config-file=%s", path);
                f->bus_pid = spawn((const char *[]){ "dbus-daemon", config, "--nofork",
                                                     "--nopidfile", print, NULL },
                                   pipe_fds[1], -1, NULL);
        } else {
                (void)snprintf(address, sizeof(address), "--address=%s", f->address);
                f->bus_pid = spawn((const char *[]){ BROKER_LAUNCH, address, print, NULL },
                                   pipe_fds[1], -1, NULL);
        }
        (void)close(pipe_fds[1]);
        if (read(pipe_fds[0], line, sizeof(line) - 1) <= 0)
                fail_msg("%s does not run", broker);
        (void)close(pipe_fds[0]);
}

bool fixture_has_owner(Fixture *f) {
        sd_bus_message *reply = ask(f, "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                    "NameHasOwner", "s", "org.aviommu1");
        int there;

        assert_true(sd_bus_message_read(reply, "b", &there) >= 0);
        sd_bus_message_unref(reply);
        return there;
}

void fixture_launch_daemon(Fixture *f) {
        char config[96], config_option[128], profile[512], bus[160], state[128], runtime[128];
        char definitions[128];
        const char *name = f->setup->profile ?: "epyc-2p";
        const char *arguments[8] = { AVIOMMUD_SIM, bus, profile, state };
        size_t n = 4;
        _cleanup_close_ int log = -1;

        (void)snprintf(profile, sizeof(profile), "--profile=%s/%s.json", PROFILES, name);
        (void)snprintf(bus, sizeof(bus), "--bus=%s", f->address);
        (void)snprintf(state, sizeof(state), "--state=%s/state", f->folder);
        (void)snprintf(runtime, sizeof(runtime), "--runtime-dir=%s/run", f->folder);
        (void)snprintf(definitions, sizeof(definitions), "--definitions=%s/definitions", f->folder);
        write_file(f, "aviommud.conf", "[Manager]\n", f->setup->config ?: "", "\n", config);
        (void)snprintf(config_option, sizeof(config_option), "--config=%s", config);
        if (f->setup->keep_log) {
                char path[96];

                (void)snprintf(path, sizeof(path), "%s/log", f->folder);
                log = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
                assert_true(log >= 0);
        }
        arguments[n++] = config_option;
        if (f->manager)
                arguments[n++] = runtime;
        if (f->setup->definitions)
                arguments[n++] = definitions;
        f->daemon_pid = spawn(arguments, -1, log, f->manager);
}

void fixture_await_daemon(Fixture *f) {
        do {
                int status;

                if (waitpid(f->daemon_pid, &status, WNOHANG) == f->daemon_pid) {
                        f->daemon_pid = 0;
                        fail_msg("aviommud-sim ended at once, status 0x%x", status);
                }
                fixture_serve(f, 2000);
        } while (!fixture_has_owner(f));
}

void fixture_kill_daemon(Fixture *f) {
        (void)kill(f->daemon_pid, SIGKILL);
        (void)waitpid(f->daemon_pid, NULL, 0);
        f->daemon_pid = 0;
        wait_until(f, !fixture_has_owner(f));
}

/* What outlives the daemon: whoever keeps its descriptors, and the folders for its records and definitions. */
static void start_manager(Fixture *f) {
        char path[96];

        if (f->setup->definitions) {
                (void)snprintf(path, sizeof(path), "%s/definitions", f->folder);
                assert_int_equal(mkdir(path, 0700), 0);
        }
        if (f->setup->fdstore_max == 0)
                return;
        (void)snprintf(path, sizeof(path), "%s/run", f->folder);
        assert_int_equal(mkdir(path, 0700), 0);
        f->manager = service_manager_start(f->setup->fdstore_max);
}

static void open_state(Fixture *f) {
        _cleanup_close_ int fd = -1;
        char path[96];
        Problem p = {};

        (void)snprintf(path, sizeof(path), "%s/state", f->folder);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        if (sim_kernel_new(NULL, fd, &f->kernel, &p) < 0)
                fail_msg("cannot open the simulated kernel: %s", p.text);
}

int fixture_wait_daemon(Fixture *f) {
        int status = wait_ended(f, f->daemon_pid);

        if (status == -1)
                fail_msg("the daemon does not end");
        f->daemon_pid = 0;
        return status;
}

void fixture_kill_bus(Fixture *f) {
        (void)kill(f->bus_pid, SIGTERM);
        if (wait_ended(f, f->bus_pid) == -1)
                fail_msg("the bus does not end");
        f->bus_pid = 0;
}

size_t fixture_count_daemon_fds(const Fixture *f, bool with_eventfds) {
        char path[64], target[64];
        struct dirent *entry;
        size_t n = 0;
        DIR *dir;

        (void)snprintf(path, sizeof(path), "/proc/%i/fd", (int)f->daemon_pid);
        dir = opendir(path);
        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);

                if (length < 0)
                        continue;
                target[length] = '\0';
                n += with_eventfds || !streq(target, "anon_inode:[eventfd]");
        }
        (void)closedir(dir);
        return n;
}

size_t fixture_daemon_memory(const Fixture *f) {
        char path[64], line[256];
        unsigned long kib = 0;
        FILE *file;

        (void)snprintf(path, sizeof(path), "/proc/%i/status", (int)f->daemon_pid);
        file = fopen(path, "re");
        assert_non_null(file);
        while (kib == 0 && fgets(line, sizeof(line), file))
                if (sscanf(line, "RssAnon: %lu kB", &kib) == 1)
                        break;
        (void)fclose(file);
        assert_true(kib > 0);
        return kib * 1024;
}

/* ---- connections ---- */

void fixture_serve(Fixture *f, uint64_t usec) {
        struct pollfd fds[CONNECTIONS_MAX];
        uint64_t until = now_usec() + usec;
        struct timespec ts;
        nfds_t n = 0;
        bool busy = false;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
                uint64_t timeout;
                int r = 1;

                while (f->connections[i] && !f->ending && r > 0) {
                        r = sd_bus_process(f->connections[i], NULL);
                        busy |= r > 0;
                }
                if (!f->connections[i] || f->ending || r < 0) /* lost: its calls have failed */
                        continue;
                fds[n++] = (struct pollfd){ .fd = sd_bus_get_fd(f->connections[i]),
                                            .events = (short)sd_bus_get_events(f->connections[i]) };
                if (sd_bus_get_timeout(f->connections[i], &timeout) > 0)
                        until = MIN(until, timeout);
        }
        if (busy)
                return;

        usec = now_usec();
        usec = until > usec ? until - usec : 0;
        ts = (struct timespec){ .tv_sec = (time_t)(usec / 1000000),
                                .tv_nsec = (long)(usec % 1000000) * 1000 };
        (void)ppoll(fds, n, &ts, NULL);
}

void fixture_serve_for(Fixture *f, uint64_t usec) {
        uint64_t deadline = now_usec() + usec, now;

        while ((now = now_usec()) < deadline)
                fixture_serve(f, deadline - now);
}

sd_bus *fixture_connect(Fixture *f) {
        sd_bus *bus = NULL;
        const char *name;
        size_t i;

        for (i = 0; i < CONNECTIONS_MAX && f->connections[i]; i++)
                ;
        assert_true(i < CONNECTIONS_MAX);
        assert_true(sd_bus_new(&bus) >= 0);
        f->connections[i] = bus;
        assert_true(sd_bus_set_address(bus, f->address) >= 0);
        assert_true(sd_bus_set_bus_client(bus, true) >= 0);
        assert_true(sd_bus_negotiate_fds(bus, true) >= 0);
        assert_true(sd_bus_start(bus) >= 0);
        assert_true(sd_bus_get_unique_name(bus, &name) >= 0); /* waits for the bus to know it */
        return bus;
}

sd_bus *fixture_connect_as(Fixture *f, uid_t uid) {
        sd_bus *bus;

        assert_int_equal(seteuid(uid), 0);
        bus = fixture_connect(f);
        assert_int_equal(seteuid(0), 0);
        return bus;
}

sd_bus *fixture_connect_in(Fixture *f, uid_t uid, gid_t group) {
        gid_t before[64];
        int n = getgroups(ELEMENTSOF(before), before);
        sd_bus *bus;

        assert_true(n >= 0);
        assert_int_equal(setgroups(1, &group), 0);
        bus = fixture_connect_as(f, uid);
        assert_int_equal(setgroups((size_t)n, before), 0);
        return bus;
}

void fixture_disconnect(Fixture *f, sd_bus *bus) {
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (f->connections[i] == bus)
                        f->connections[i] = NULL;
        sd_bus_flush_close_unref(bus);
}

/* ---- signals ---- */

static int on_signal_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *arguments = message_to_text(m);
        Fixture *f = userdata;
        char **grown, *text;
        int r;

        (void)error;
        if (streq(sd_bus_message_get_interface(m), "org.freedesktop.DBus.Properties"))
                r = asprintf(&text, "%s %s %s", sd_bus_message_get_member(m),
                             sd_bus_message_get_path(m), arguments);
        else
                r = asprintf(&text, "%s %s", sd_bus_message_get_member(m), arguments);
        assert_true(r >= 0);
        grown = reallocarray(f->signals, f->n_signals + 1, sizeof(char *));
        assert_non_null(grown);
        f->signals = grown;
        f->signals[f->n_signals++] = text;
        return 0;
}

static void listen_to_signals(Fixture *f) {
        f->ear = fixture_connect(f);
        assert_true(sd_bus_add_match(f->ear, NULL, "type='signal',sender='org.aviommu1'",
                                     on_signal_message, f) >= 0);
}

const char *hear(Fixture *f, const char *pattern) {
        uint64_t deadline = now_usec() + DEADLINE_USEC;

        for (;;) {
                while (f->n_signals_read < f->n_signals) {
                        const char *text = f->signals[f->n_signals_read++];

                        if (fnmatch(pattern, text, 0) == 0)
                                return text;
                }
                if (now_usec() > deadline)
                        fail_msg("no signal came like: %s", pattern);
                fixture_serve(f, 10000);
        }
}

size_t count_heard(Fixture *f, const char *pattern) {
        size_t n = 0;

        for (size_t i = f->n_signals_read; i < f->n_signals; i++)
                n += fnmatch(pattern, f->signals[i], 0) == 0;
        return n;
}

void forget_signals(Fixture *f) {
        fixture_serve_for(f, 50000);
        f->n_signals_read = f->n_signals;
}

/* ---- life ---- */

void fixture_restart_bus(Fixture *f) {
        fixture_kill_bus(f);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (f->connections[i])
                        fixture_disconnect(f, f->connections[i]);
        (void)unlink(f->address + strlen("unix:path="));
        start_bus(f);
        f->bus = fixture_connect(f);
        listen_to_signals(f);
}

int fixture_setup(void **state) {
        Fixture *f = new0(Fixture, 1);

        assert_non_null(f);
        f->setup = *state;
        *state = f;

        (void)snprintf(f->folder, sizeof(f->folder), "%.40s/aviommu-bus-XXXXXX",
                       getenv("TMPDIR") ?: "/tmp");
        assert_non_null(mkdtemp(f->folder));
        assert_int_equal(chmod(f->folder, 0755), 0); /* callers of other uids get to the socket */
        start_bus(f);
        f->bus = fixture_connect(f);
        listen_to_signals(f);
        start_manager(f);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        open_state(f);
        return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        (void)st;
        (void)type;
        (void)ftw;
        return remove(path);
}

/* What has to be so after every test. */
static bool check_end(Fixture *f, int status) {
        SimCounters counters = {};
        bool good = true;

        if (f->kernel)
                sim_get_counters(f->kernel, &counters);
        if (!sim_counters_are_zero(&counters)) {
                print_error("the daemon has ended, but the kernel still has: %" PRIu64
                            " contexts, %" PRIu64 " cdevs, %" PRIu64 " objects\n",
                            counters.contexts, counters.open_cdevs,
                            counters.ioas + counters.devices + counters.hwpts + counters.viommus +
                                    counters.vdevices + counters.tombstones);
                good = false;
        }
        if (!f->setup->other_exit && status != 0) {
                print_error("the daemon ended with wait status 0x%x\n", (unsigned)status);
                good = false;
        }
        return good;
}

int fixture_teardown(void **state) {
        Fixture *f = *state;
        int status = f->setup->other_exit ? 0 : -1;
        bool good;

        f->ending = true;

        for (size_t i = 0; i < ELEMENTSOF(f->children); i++)
                if (f->children[i] > 0)
                        fixture_kill(f, f->children[i]);
        if (f->daemon_pid > 0) {
                (void)kill(f->daemon_pid, SIGTERM);
                status = wait_ended(f, f->daemon_pid);
                if (status == -1) {
                        (void)kill(f->daemon_pid, SIGKILL);
                        (void)waitpid(f->daemon_pid, NULL, 0);
                }
        }
        for (size_t i = 0; i < f->n_held; i++)
                sd_bus_message_unref(f->held[i]);
        free(f->held);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (f->connections[i])
                        sd_bus_flush_close_unref(f->connections[i]);
        memset(f->connections, 0, sizeof(f->connections));
        if (f->bus_pid > 0) {
                (void)kill(f->bus_pid, SIGTERM);
                if (wait_ended(f, f->bus_pid) == -1) {
                        (void)kill(f->bus_pid, SIGKILL);
                        (void)waitpid(f->bus_pid, NULL, 0);
                }
        }

        f->manager = service_manager_stop(f->manager);
        good = check_end(f, status);
        kernel_free(f->kernel);
        for (size_t i = 0; i < f->n_signals; i++)
                free(f->signals[i]);
        free(f->signals);
        (void)nftw(f->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
        free(f);
        return good ? 0 : -1;
}
