/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "service-manager.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd-util.h"

#define PASSED_FDS_MAX 253 /* SCM_MAX_FD */

struct ServiceManager {
        pthread_t thread;
        int socket, wakeup;
        char address[64];
        size_t max;
        bool stalled, stopping;
        ManagedFd fds[SERVICE_MANAGER_FDS_MAX];
        size_t n_fds;
        ManagerNews news;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ServiceManager *the_manager;

static void take_lock(void) {
        (void)pthread_mutex_lock(&lock);
}

static void release_lock(void) {
        (void)pthread_mutex_unlock(&lock);
}

/* Wakes the thread, which looks at everything anew. */
static void wake(ServiceManager *m) {
        assert(eventfd_write(m->wakeup, 1) == 0);
}

int service_manager_move_fd(int fd) {
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, SERVICE_MANAGER_FD_MIN);

        assert(moved >= 0);
        (void)fd_close(fd);
        return moved;
}

/* ---- the store ---- */

static bool name_is_valid(const char *name) {
        for (const char *p = name; *p; p++)
                if (*p < ' ' || *p > '~' || *p == ':')
                        return false;
        return *name && strlen(name) < sizeof(((ManagedFd *)0)->name);
}

static bool same_file(int a, int b) {
        struct stat x, y;
        pid_t pid = getpid();
        long r = syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b);

        if (r >= 0)
                return r == 0;
        return fstat(a, &x) >= 0 && fstat(b, &y) >= 0 && x.st_dev == y.st_dev &&
               x.st_ino == y.st_ino;
}

static void drop_at(ServiceManager *m, size_t i) {
        (void)fd_close(m->fds[i].fd);
        m->n_fds--;
        memmove(m->fds + i, m->fds + i + 1, (m->n_fds - i) * sizeof(ManagedFd));
}

/* Takes over @fd. */
static void keep(ServiceManager *m, const char *name, int fd, bool polled) {
        ManagedFd *managed;

        assert(m->n_fds < SERVICE_MANAGER_FDS_MAX);
        managed = m->fds + m->n_fds++;
        *managed = (ManagedFd){ .fd = service_manager_move_fd(fd), .polled = polled };
        (void)snprintf(managed->name, sizeof(managed->name), "%s", name);
        if (polled)
                wake(m);
}

static void store(ServiceManager *m, const char *name, int fd, bool polled) {
        bool refused = m->n_fds >= m->max;

        for (size_t i = 0; i < m->n_fds && !refused; i++)
                refused = same_file(m->fds[i].fd, fd);
        if (refused) {
                m->news.n_refused++;
                (void)fd_close(fd);
                return;
        }
        keep(m, name && name_is_valid(name) ? name : "stored", fd, polled);
}

static ManagedFd *find(ServiceManager *m, const char *name) {
        for (size_t i = 0; i < m->n_fds; i++)
                if (streq(m->fds[i].name, name))
                        return m->fds + i;
        return NULL;
}

static bool drop(ServiceManager *m, const char *name) {
        ManagedFd *managed = find(m, name);

        if (managed)
                drop_at(m, (size_t)(managed - m->fds));
        return managed;
}

/* ---- messages ---- */

static void handle_message(ServiceManager *m, char *text, int *fds, size_t n_fds) {
        bool add = false, remove = false, polled = true;
        const char *name = NULL, *status;

        m->news.n_messages++;
        if (streq(text, "BARRIER=1")) {
                m->news.n_barriers += n_fds == 1;
                return;
        }

        for (char *line; (line = strsep(&text, "\n"));) {
                add = add || streq(line, "FDSTORE=1");
                remove = remove || streq(line, "FDSTOREREMOVE=1");
                polled = polled && !streq(line, "FDPOLL=0");
                m->news.n_ready += streq(line, "READY=1");
                m->news.n_stopping += streq(line, "STOPPING=1");
                if (strncmp(line, "FDNAME=", strlen("FDNAME=")) == 0)
                        name = line + strlen("FDNAME=");
                status = strncmp(line, "STATUS=", strlen("STATUS=")) == 0 ? strchr(line, '=')
                                                                          : NULL;
                if (status)
                        (void)snprintf(m->news.status, sizeof(m->news.status), "%s", status + 1);
        }

        if (remove)
                while (name && drop(m, name))
                        ;
        else if (add)
                for (size_t i = 0; i < n_fds; i++) {
                        store(m, name, fds[i], polled);
                        fds[i] = -1;
                }
}

/* Receives one message and closes what is left of its descriptors, which is how a barrier is
 * answered. */
static bool receive(ServiceManager *m) {
        union {
                struct cmsghdr header;
                char data[CMSG_SPACE(sizeof(int) * PASSED_FDS_MAX)];
        } control;
        char text[4096];
        struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
        struct msghdr message = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int fds[PASSED_FDS_MAX];
        size_t n_fds = 0;
        ssize_t n;

        n = recvmsg(m->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n < 0)
                return false;
        text[n] = '\0';
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
                        n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                        memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
                }

        handle_message(m, text, fds, n_fds);
        for (size_t i = 0; i < n_fds; i++)
                (void)fd_close(fds[i]);
        return true;
}

/* With the lock: hears what there is to hear. */
static void drain(ServiceManager *m) {
        while (!m->stalled && receive(m))
                ;
}

/* A fork finds the manager at rest, with everything heard. */
static void before_fork(void) {
        take_lock();
        if (the_manager)
                drain(the_manager);
}

static void guard_forks(void) {
        assert(pthread_atfork(before_fork, release_lock, release_lock) == 0);
}

/* Drops what has hung up. */
static void drop_dead(ServiceManager *m) {
        for (size_t i = m->n_fds; i-- > 0;) {
                struct pollfd p = { .fd = m->fds[i].fd };

                if (m->fds[i].polled && poll(&p, 1, 0) > 0 && p.revents & (POLLHUP | POLLERR))
                        drop_at(m, i);
        }
}

static void *serve(void *userdata) {
        struct pollfd fds[SERVICE_MANAGER_FDS_MAX + 2];
        ServiceManager *m = userdata;

        take_lock();
        while (!m->stopping) {
                eventfd_t ignored;
                nfds_t n = 2;

                fds[0] = (struct pollfd){ .fd = m->wakeup, .events = POLLIN };
                fds[1] = (struct pollfd){ .fd = m->stalled ? -1 : m->socket, .events = POLLIN };
                for (size_t i = 0; i < m->n_fds; i++)
                        if (m->fds[i].polled)
                                fds[n++] = (struct pollfd){ .fd = m->fds[i].fd };
                release_lock();
                (void)poll(fds, n, -1);
                (void)eventfd_read(m->wakeup, &ignored);
                take_lock();
                drain(m);
                drop_dead(m);
        }
        release_lock();
        return NULL;
}

/* ---- its life ---- */

ServiceManager *service_manager_start(size_t max) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        socklen_t length = sizeof(address);
        ServiceManager *m = new0(ServiceManager, 1);
        sigset_t all, before;

        assert(m && max <= SERVICE_MANAGER_FDS_MAX && !the_manager);
        (void)pthread_once(&once, guard_forks);
        m->max = max;
        m->wakeup = service_manager_move_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        m->socket = service_manager_move_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        /* An address without a file, of the kernel's choice. */
        assert(bind(m->socket, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
        assert(getsockname(m->socket, (struct sockaddr *)&address, &length) == 0);
        (void)snprintf(m->address, sizeof(m->address), "@%.*s",
                       (int)(length - offsetof(struct sockaddr_un, sun_path) - 1),
                       address.sun_path + 1);

        /* Signals are the test's. */
        (void)sigfillset(&all);
        assert(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
        the_manager = m;
        assert(pthread_create(&m->thread, NULL, serve, m) == 0);
        assert(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
        return m;
}

ServiceManager *service_manager_stop(ServiceManager *m) {
        if (!m)
                return NULL;

        take_lock();
        m->stopping = true;
        release_lock();
        wake(m);
        assert(pthread_join(m->thread, NULL) == 0);

        service_manager_clear(m);
        the_manager = NULL;
        (void)fd_close(m->socket);
        (void)fd_close(m->wakeup);
        free(m);
        (void)unsetenv("NOTIFY_SOCKET");
        (void)unsetenv("FDSTORE");
        return NULL;
}

static void set_number(const char *variable, uint64_t value) {
        char text[32];

        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
        assert(setenv(variable, text, 1) == 0);
}

void service_manager_set_environment(ServiceManager *m) {
        assert(setenv("NOTIFY_SOCKET", m->address, 1) == 0);
        set_number("FDSTORE", m->max);
        (void)unsetenv("LISTEN_FDS");
        (void)unsetenv("LISTEN_FDNAMES");
        (void)unsetenv("LISTEN_PID");
}

void service_manager_enter(ServiceManager *m) {
        char names[SERVICE_MANAGER_FDS_MAX * sizeof(m->fds[0].name)] = "", *p = names;

        service_manager_set_environment(m);
        for (size_t i = 0; i < m->n_fds; i++) {
                assert(3 + (int)i < SERVICE_MANAGER_FD_MIN && m->fds[i].fd > 3 + (int)i);
                assert(dup2(m->fds[i].fd, 3 + (int)i) >= 0);
                (void)fd_close(m->fds[i].fd);
                p = stpcpy(stpcpy(p, i > 0 ? ":" : ""), m->fds[i].name);
        }
        (void)fd_close(m->socket);
        (void)fd_close(m->wakeup);

        if (m->n_fds == 0)
                return;
        set_number("LISTEN_FDS", m->n_fds);
        set_number("LISTEN_PID", (uint64_t)getpid());
        assert(setenv("LISTEN_FDNAMES", names, 1) == 0);
}

/* ---- looking and meddling ---- */

int service_manager_connect(ServiceManager *m) {
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un address;
        socklen_t length = sizeof(address);

        assert(getsockname(m->socket, (struct sockaddr *)&address, &length) == 0);
        assert(connect(fd, (struct sockaddr *)&address, length) == 0);
        return fd;
}

const ManagedFd *service_manager_list(ServiceManager *m, size_t *ret_n) {
        take_lock();
        drain(m);
        *ret_n = m->n_fds;
        release_lock();
        return m->fds;
}

int service_manager_find(ServiceManager *m, const char *name) {
        const ManagedFd *managed;

        take_lock();
        drain(m);
        managed = find(m, name);
        release_lock();
        return managed ? managed->fd : -1;
}

void service_manager_stall(ServiceManager *m, bool stall) {
        take_lock();
        drain(m);
        m->stalled = stall;
        release_lock();
        wake(m);
}

ManagerNews service_manager_get_news(ServiceManager *m) {
        ManagerNews news;

        take_lock();
        drain(m);
        news = m->news;
        release_lock();
        return news;
}

bool service_manager_drop(ServiceManager *m, const char *name) {
        bool found;

        take_lock();
        drain(m);
        found = drop(m, name);
        release_lock();
        wake(m);
        return found;
}

bool service_manager_rename(ServiceManager *m, const char *name, const char *to) {
        ManagedFd *managed;

        take_lock();
        drain(m);
        managed = find(m, name);
        if (managed)
                (void)snprintf(managed->name, sizeof(managed->name), "%s", to);
        release_lock();
        return managed;
}

void service_manager_insert(ServiceManager *m, const char *name, int fd) {
        int copy = fd_dup(fd);

        assert(copy >= 0);
        take_lock();
        drain(m);
        keep(m, name, copy, false);
        release_lock();
}

void service_manager_clear(ServiceManager *m) {
        take_lock();
        drain(m);
        while (m->n_fds > 0)
                drop_at(m, m->n_fds - 1);
        release_lock();
        wake(m);
}
