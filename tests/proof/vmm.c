/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The stand-ins for VMMs: each a process behind a socket, that does what it is told and answers. */

#include "proof/world.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "proof/vmm.h"

#define FDS_MAX  16
#define IDS_MAX  64
#define PATIENCE 10000 /* ms */

typedef enum VmmWish {
        WISH_KEEP_IOMMUFD,
        WISH_KEEP_CDEV,
        WISH_CLOSE,
        WISH_BIND,
        WISH_LOOK
} VmmWish;

typedef struct VmmMessage {
        uint32_t sequence;
        VmmWish wish;
        PciAddress function;
        int r;
        unsigned n_objects, n_devices;
} VmmMessage;

typedef struct VmmSelf {
        Kernel *kernel;
        int iommufd;
        int cdevs[FDS_MAX];
        size_t n_cdevs;
} VmmSelf;

/* ---- the process ---- */

static int send_message(int socket, const VmmMessage *m, int fd) {
        union {
                struct cmsghdr header;
                char data[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = (void *)m, .iov_len = sizeof(*m) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (fd >= 0) {
                struct cmsghdr *c = &control.header;

                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(c), &fd, sizeof(int));
        }
        return sendmsg(socket, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static bool receive_message(int socket, VmmMessage *ret, int *ret_fd) {
        union {
                struct cmsghdr header;
                char data[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct cmsghdr *c;

        *ret_fd = -1;
        if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*ret))
                return false;
        c = CMSG_FIRSTHDR(&message);
        if (c && c->cmsg_type == SCM_RIGHTS)
                memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
        return true;
}

static int self_bind(VmmSelf *self, const PciAddress *function) {
        const KernelOps *ops = self->kernel->ops;
        uint32_t device, ioas;
        int cdev, r;

        r = ops->cdev_open(self->kernel, function, &cdev);
        if (r < 0)
                return r;
        self->cdevs[self->n_cdevs++] = cdev;
        r = ops->cdev_bind(self->kernel, cdev, self->iommufd, NULL, &device);
        if (r >= 0)
                r = ops->ioas_alloc(self->kernel, self->iommufd, &ioas);
        return r < 0 ? r : ops->cdev_attach(self->kernel, cdev, ioas);
}

static int self_look(const VmmSelf *self, VmmMessage *m) {
        Kernel *k = self->kernel;

        m->n_objects = m->n_devices = 0;
        if (self->iommufd < 0)
                return -EBADF;
        for (uint32_t id = 1; id < IDS_MAX; id++) {
                m->n_objects += k->ops->object_probe(k, self->iommufd, KERNEL_OBJECT_ANY, id) == 0;
                m->n_devices += k->ops->object_probe(k, self->iommufd, KERNEL_OBJECT_DEVICE, id) ==
                                0;
        }
        return 0;
}

static int self_act(VmmSelf *self, VmmMessage *m, int fd) {
        switch (m->wish) {
        case WISH_KEEP_IOMMUFD:
                (void)fd_close(self->iommufd);
                self->iommufd = fd;
                return 0;
        case WISH_KEEP_CDEV:
                self->cdevs[self->n_cdevs++] = fd;
                return 0;
        case WISH_CLOSE:
                while (self->n_cdevs > 0)
                        (void)fd_close(self->cdevs[--self->n_cdevs]);
                return 0;
        case WISH_BIND:
                return self_bind(self, &m->function);
        default:
                return self_look(self, m);
        }
}

static _Noreturn void vmm_main(Kernel *k, int socket) {
        VmmSelf self = { .kernel = k, .iommufd = -1 };
        VmmMessage m;
        int fd;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (receive_message(socket, &m, &fd)) {
                m.r = self_act(&self, &m, fd);
                if (send_message(socket, &m, -1) < 0)
                        break;
        }
        _exit(0);
}

/* ---- its parent ---- */

void vmm_start(World *w, int vmm) {
        Vmm *v = w->vmms + vmm;
        int sockets[2];
        char ready = 0;

        assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
        v->socket = service_manager_move_fd(sockets[0]);
        v->pid = fork();
        assert(v->pid >= 0);
        if (v->pid == 0) {
                /* Nothing that the service manager keeps: it would be kept here as well. */
                (void)close_range(SERVICE_MANAGER_FD_MIN, ~0U, 0);
                assert(send(sockets[1], &ready, 1, 0) == 1);
                vmm_main(w->look, sockets[1]);
        }
        (void)fd_close(sockets[1]);
        assert(recv(v->socket, &ready, 1, 0) == 1); /* it has closed them, however late it was */
        v->pidfd = service_manager_move_fd(pidfd_of(v->pid));
        w->shared->vmm_ended[vmm] = false;
}

void vmm_reap(World *w, int vmm) {
        Vmm *v = w->vmms + vmm;

        if (v->pid <= 0)
                return;
        (void)kill(v->pid, SIGKILL);
        assert(waitpid(v->pid, NULL, 0) == v->pid);
        v->pid = 0;
        v->pidfd = fd_close(v->pidfd);
        v->socket = fd_close(v->socket);
}

/* ---- whoever tells it something ---- */

/* Answers to an earlier daemon, which died before it read them, are passed over. */
static int tell(World *w, int vmm, VmmMessage *m, int fd) {
        Vmm *v = w->vmms + vmm;
        uint32_t sequence = (uint32_t)getpid() << 8 | (++v->sequence & 0xff);
        VmmMessage reply;
        int ignored;

        m->sequence = sequence;
        if (send_message(v->socket, m, fd) < 0)
                return -EPIPE;
        do
                if (!receive_message(v->socket, &reply, &ignored))
                        return -EPIPE;
        while (reply.sequence != sequence);
        *m = reply;
        return m->r;
}

void vmm_give(World *w, int vmm, int fd, bool is_iommufd) {
        VmmMessage m = { .wish = is_iommufd ? WISH_KEEP_IOMMUFD : WISH_KEEP_CDEV };

        if (tell(w, vmm, &m, fd) < 0)
                flunk(w, "the VMM takes no descriptor");
}

void vmm_close_cdevs(World *w, int vmm) {
        VmmMessage m = { .wish = WISH_CLOSE };

        if (!w->shared->vmm_ended[vmm] && tell(w, vmm, &m, -1) < 0)
                flunk(w, "the VMM closes nothing");
}

void vmm_bind(World *w, int vmm, const char *function) {
        VmmMessage m = { .wish = WISH_BIND, .function = fn(function) };
        int r = tell(w, vmm, &m, -1);

        if (r < 0)
                flunk(w, "the VMM cannot bind %s: %s", function, strerror(-r));
}

bool vmm_look(World *w, int vmm, unsigned *ret_objects, unsigned *ret_devices) {
        VmmMessage m = { .wish = WISH_LOOK };

        if (w->shared->vmm_ended[vmm] || tell(w, vmm, &m, -1) < 0)
                return false;
        *ret_objects = m.n_objects;
        *ret_devices = m.n_devices;
        return true;
}

void vmm_kill(World *w, int vmm) {
        struct pollfd p = { .fd = w->vmms[vmm].pidfd, .events = POLLIN };

        w->shared->vmm_ended[vmm] = true;
        (void)kill(w->vmms[vmm].pid, SIGKILL);
        if (poll(&p, 1, PATIENCE) != 1)
                flunk(w, "the VMM does not end");
}
