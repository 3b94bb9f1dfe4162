/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Runs dbus-broker on a private bus without systemd, with dbus-daemon's two options:
 *
 *      broker-launch --address=unix:path=PATH --print-address=FD
 *
 * dbus-broker mediates and nothing else. Whoever starts it is its controller: gives it a listening socket and a policy over
 * a peer-to-peer D-Bus connection, and lives as long as the bus shall live (dbus-broker(1), CONTROLLER). The launcher that
 * dbus-broker brings along does that with systemd's help; this one does it alone, for a bus on which everything is allowed.
 * It ends when the broker does, and the broker ends when it does, however that comes.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#define ADDRESS_PREFIX "unix:path="

/* What the broker lets each user have: as much as the launcher for a system bus gives, and more descriptors in flight, for a
 * test is many callers in one. */
#define MAX_BYTES   "536870912"
#define MAX_FDS     "4096"
#define MAX_MATCHES "65536"
#define MAX_OBJECTS "65536"

/* The wire format of a policy is the broker's own: for each uid, then for ranges of uids and gids, a batch of what may
 * connect, own, send and receive; SELinux labels; whether AppArmor is asked; the type of the bus. */
#define XMIT   "(btssssuutt)"
#define BATCH  "bta(btbs)a" XMIT "a" XMIT
#define POLICY "a(u(" BATCH "))a(buu(" BATCH "))a(ss)bs"

static int listen_at(const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, strlen(path));

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
            chmod(path, 0666) < 0 || listen(fd, SOMAXCONN) < 0) {
                int r = -errno;

                (void)close(fd);
                return r;
        }
        return fd;
}

/* Replaces this process, a fresh child, with the broker. */
static void exec_broker(int controller, pid_t parent) {
        char fd[16], id[SD_ID128_STRING_MAX];
        sd_id128_t machine;
        sigset_t none;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)fcntl(controller, F_SETFD, 0);
        (void)snprintf(fd, sizeof(fd), "%i", controller);
        (void)sd_id128_randomize(&machine);
        (void)execlp("dbus-broker", "dbus-broker", "--controller", fd, "--machine-id",
                     sd_id128_to_string(machine, id), "--max-bytes", MAX_BYTES, "--max-fds",
                     MAX_FDS, "--max-matches", MAX_MATCHES, "--max-objects", MAX_OBJECTS, NULL);
        (void)fprintf(stderr, "broker-launch: cannot run dbus-broker: %s\n", strerror(errno));
        _exit(EXIT_FAILURE);
}

/* Everybody may connect, own, send and receive anything. */
static int append_policy(sd_bus_message *m) {
        const uint64_t priority = 1;
        int r;

        r = sd_bus_message_open_container(m, 'v', "(" POLICY ")");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', POLICY);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(u(" BATCH "))", 1, UINT32_MAX, 1, priority, 1, 1,
                                          priority, 1, "", 1, 1, priority, "", "", "", "",
                                          UINT32_C(0), UINT32_C(0), UINT64_C(0), UINT64_MAX, 1, 1,
                                          priority, "", "", "", "", UINT32_C(0), UINT32_C(0),
                                          UINT64_C(0), UINT64_MAX);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(buu(" BATCH "))a(ss)bs", 0, 0, 0, "system");
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int add_listener(sd_bus *controller, int listener) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(controller, &m, NULL, "/org/bus1/DBus/Broker",
                                           "org.bus1.DBus.Broker", "AddListener");
        if (r >= 0)
                r = sd_bus_message_append(m, "oh", "/org/bus1/DBus/Listener/0", listener);
        if (r >= 0)
                r = append_policy(m);
        if (r >= 0)
                r = sd_bus_call(controller, m, 0, &error, NULL);
        if (r < 0)
                (void)fprintf(stderr, "broker-launch: AddListener: %s\n",
                              error.message ? error.message : strerror(-r));
        sd_bus_error_free(&error);
        sd_bus_message_unref(m);
        return r;
}

/* ReloadConfig of a client: there is no file to read again. */
static int method_reload(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        (void)userdata;
        (void)error;
        return sd_bus_reply_method_return(m, NULL);
}

static const sd_bus_vtable controller_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("ReloadConfig", NULL, NULL, method_reload, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int connect_controller(sd_event *event, int fd, sd_bus **ret) {
        sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_fd(bus, fd, fd);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, "/org/bus1/DBus/Controller",
                                             "org.bus1.DBus.Controller", controller_vtable, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_start(bus);
        *ret = bus;
        return r;
}

static int on_broker_ended(sd_event_source *s, const siginfo_t *si, void *userdata) {
        (void)userdata;
        return sd_event_exit(sd_event_source_get_event(s),
                             si->si_code == CLD_EXITED ? si->si_status : EXIT_FAILURE);
}

static int new_event(sd_event **ret) {
        sigset_t signals;
        int r;

        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGTERM);
        (void)sigaddset(&signals, SIGINT);
        (void)sigaddset(&signals, SIGCHLD);
        (void)sigprocmask(SIG_BLOCK, &signals, NULL);

        r = sd_event_default(ret);
        if (r >= 0)
                r = sd_event_add_signal(*ret, NULL, SIGTERM, NULL, (void *)EXIT_SUCCESS);
        if (r >= 0)
                r = sd_event_add_signal(*ret, NULL, SIGINT, NULL, (void *)EXIT_SUCCESS);
        return r;
}

/* Returns the exit code of the bus, or a negative errno. */
static int run(const char *path, const char *address, int print_fd) {
        int listener, pair[2], r;
        sd_event *event = NULL;
        sd_bus *controller = NULL;
        pid_t broker, self = getpid();

        listener = listen_at(path);
        if (listener < 0)
                return listener;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        r = new_event(&event);
        if (r < 0)
                return r;

        broker = fork();
        if (broker < 0)
                return -errno;
        if (broker == 0)
                exec_broker(pair[1], self);
        (void)close(pair[1]);

        r = sd_event_add_child(event, NULL, broker, WEXITED, on_broker_ended, NULL);
        if (r >= 0)
                r = connect_controller(event, pair[0], &controller);
        if (r >= 0)
                r = add_listener(controller, listener);
        if (r >= 0 && dprintf(print_fd, "%s\n", address) < 0)
                r = -errno;
        if (r >= 0) {
                (void)close(print_fd);
                r = sd_event_loop(event);
        }

        (void)close(listener);
        sd_bus_flush_close_unref(controller); /* which the broker takes as its end */
        sd_event_unref(event);
        (void)waitpid(broker, NULL, 0);
        return r;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "address", required_argument, NULL, 'a' },
                { "print-address", required_argument, NULL, 'p' },
                {},
        };
        const char *address = NULL;
        int c, r, print_fd = STDOUT_FILENO;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (c == 'a')
                        address = optarg;
                else if (c == 'p')
                        print_fd = atoi(optarg);
                else
                        address = "";
        if (!address || strncmp(address, ADDRESS_PREFIX, strlen(ADDRESS_PREFIX)) != 0) {
                (void)fputs("usage: broker-launch --address=unix:path=PATH [--print-address=FD]\n",
                            stderr);
                return 2;
        }

        r = run(address + strlen(ADDRESS_PREFIX), address, print_fd);
        if (r < 0)
                (void)fprintf(stderr, "broker-launch: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : r;
}
