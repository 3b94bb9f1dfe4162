/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "kernel/sim/sim-internal.h"
#include "test-sim.h"

/* The state: it outlives processes, and knows what each of them let go. */

static int send_fd(int sock, int fd) {
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {};
        char byte = 'x';
        struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr m = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
        return sendmsg(sock, &m, 0) < 0 ? -errno : 0;
}

static int receive_fd(int sock) {
        union {
                char buffer[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {};
        char byte;
        struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
        struct msghdr m = {
                .msg_iov = &iov,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = sizeof(control),
        };
        int fd;

        assert_int_equal(recvmsg(sock, &m, MSG_CMSG_CLOEXEC), 1);
        assert_true(m.msg_controllen >= CMSG_LEN(sizeof(int)));
        memcpy(&fd, CMSG_DATA(&control.align), sizeof(int));
        return fd;
}

/* Runs @child on a Kernel of its own in another process, as far as its first message. */
static pid_t spawn(int state_fd, void (*child)(Kernel *k, int sock), int *ret_sock) {
        int socks[2];
        pid_t pid;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                Kernel *k;

                (void)close(socks[0]);
                if (sim_kernel_new(NULL, state_fd, &k, NULL) < 0)
                        _exit(1);
                child(k, socks[1]);
                for (;;)
                        (void)pause();
        }

        (void)close(socks[1]);
        *ret_sock = socks[0];
        return pid;
}

static void end(pid_t pid, int sock) {
        (void)close(sock);
        (void)kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void child_makes_vm(Kernel *k, int sock) {
        Vm vm = vm_new(k, FN_NIC, true);

        if (send_fd(sock, vm.iommufd) < 0)
                _exit(1);
}

static void process_dies(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        SimCounters n;
        uint32_t id;
        int sock, iommufd;
        pid_t pid = spawn(sim_kernel_get_state_fd(k), child_makes_vm, &sock);

        (void)state;
        iommufd = receive_fd(sock);
        sim_get_counters(k, &n);
        assert_int_equal(n.contexts, 1);
        assert_int_equal(n.bound_functions, 1);
        assert_int_equal(n.guest_ids, 1);
        assert_int_equal(n.trans_devids, 1);
        assert_int_equal(n.contiguous_bytes, 3 << 19);

        /* The cdev dies with the process; the context has gone on to this one. */
        end(pid, sock);
        sim_get_counters(k, &n);
        assert_int_equal(n.contexts, 1);
        assert_int_equal(n.bound_functions, 0);
        assert_int_equal(n.viommus, 1);
        assert_int_equal(n.hwpts, 1);
        assert_ok(k->ops->ioas_alloc(k, iommufd, &id));
        (void)close(iommufd);
        assert_nothing_left(k);
}

static void child_maps_page(Kernel *k, int sock) {
        Vm vm = vm_new(k, FN_NIC, true);
        volatile void *page;

        if (k->ops->vfmmio_map(k, vm.iommufd, vm.viommu.vfmmio_offset, &page) < 0)
                _exit(1);
        vm_close(&vm);
        if (send_fd(sock, 0) < 0)
                _exit(1);
}

static void page_holds_the_context(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        SimCounters n;
        int sock;
        pid_t pid = spawn(sim_kernel_get_state_fd(k), child_maps_page, &sock);

        (void)state;
        (void)close(receive_fd(sock));
        sim_get_counters(k, &n);
        assert_int_equal(n.contexts, 1);
        assert_int_equal(n.guest_ids, 1);
        assert_int_equal(n.open_cdevs, 0);
        end(pid, sock);
        assert_nothing_left(k);
}

/* A VMM knows no Kernel: it maps the descriptor at the offset that it was told. */
static void vmm_maps_the_descriptor(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Vm vm = vm_new(k, FN_NIC, true);
        volatile uint32_t *vmm;
        volatile void *page;
        SimCounters n;

        (void)state;
        vmm = mmap(NULL, KERNEL_VFMMIO_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vm.iommufd,
                   (off_t)vm.viommu.vfmmio_offset);
        assert_ptr_not_equal(vmm, MAP_FAILED);
        vmm[3] = 42;
        assert_ok(k->ops->vfmmio_map(k, vm.iommufd, vm.viommu.vfmmio_offset, &page));
        assert_int_equal(((volatile uint32_t *)page)[3], 42);
        assert_ok(k->ops->vfmmio_unmap(k, vm.iommufd, vm.viommu.vfmmio_offset, page));

        vm_close(&vm);
        sim_get_counters(k, &n);
        assert_int_equal(n.contexts, 1);
        (void)munmap((void *)vmm, KERNEL_VFMMIO_SIZE);
        assert_nothing_left(k);

        vm = vm_new(k, FN_NIC, true); /* who comes next finds the page empty */
        assert_ok(k->ops->vfmmio_map(k, vm.iommufd, vm.viommu.vfmmio_offset, &page));
        assert_int_equal(((volatile uint32_t *)page)[3], 0);
        assert_ok(k->ops->vfmmio_unmap(k, vm.iommufd, vm.viommu.vfmmio_offset, page));
        vm_close(&vm);
}

/* As a daemon that restarts, with its descriptors kept for it meanwhile. */
static void kernel_is_reopened(void **state) {
        _cleanup_(kernel_freep) Kernel *first = host_new("small"), *second = NULL;
        _cleanup_close_ int state_fd = fd_dup(sim_kernel_get_state_fd(first));
        Vm vm = vm_new(first, FN_NIC, true);

        (void)state;
        first = kernel_free(first);
        assert_ok(sim_kernel_new("/not/read.json", state_fd, &second, NULL));
        assert_ok(second->ops->object_probe(second, vm.iommufd, KERNEL_OBJECT_ANY,
                                            vm.viommu.viommu_id));
        assert_ok(second->ops->cdev_attach(second, vm.cdev, vm.hwpt));
        vm_close(&vm);
        assert_nothing_left(second);
}

static void child_dies_inside(Kernel *k, int sock) {
        (void)sim_lock(sim_kernel(k));
        (void)!write(sock, "x", 1);
        _exit(0);
}

static void mutex_survives_its_owner(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        char byte;
        int sock;
        pid_t pid = spawn(sim_kernel_get_state_fd(k), child_dies_inside, &sock);

        (void)state;
        assert_int_equal(read(sock, &byte, 1), 1);
        end(pid, sock);
        assert_nothing_left(k);
        assert_true(sim_kernel(k)->state->torn);
}

static void state_in_a_file(void **state) {
        char path[] = "/tmp/test-sim-XXXXXX";
        _cleanup_(kernel_freep) Kernel *k = NULL;
        _cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);
        Problem problem = {};
        Vm vm;

        (void)state;
        assert_true(fd >= 0);
        (void)unlink(path);
        assert_error(sim_kernel_new(NULL, fd, &k, &problem), EINVAL);
        assert_int_equal(lseek(fd, 0, SEEK_END), 0); /* a failure leaves it as it was */
        assert_error(sim_kernel_new("/nowhere.json", fd, &k, &problem), EINVAL);
        assert_int_equal(lseek(fd, 0, SEEK_END), 0);

        assert_ok(sim_kernel_new(PROFILES_DIR "/small.json", fd, &k, &problem));
        vm = vm_new(k, FN_NIC, true);
        vm_close(&vm);
        assert_nothing_left(k);
}

static void state_of_another_kind(void **state) {
        _cleanup_close_ int fd = memfd_create("other", MFD_CLOEXEC);
        Problem problem = {};
        Kernel *k;

        (void)state;
        assert_int_equal(write(fd, "something else", 14), 14);
        assert_error(sim_kernel_new(NULL, fd, &k, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "is none"));
        assert_int_equal(ftruncate(fd, (off_t)SIM_FILE_SIZE), 0);
        assert_error(sim_kernel_new(NULL, fd, &k, &problem), EINVAL);
        assert_error(sim_kernel_new(NULL, INT32_MAX, &k, NULL), ENOENT);
}

static void state_of_another_version(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Problem problem = {};
        Kernel *other;

        (void)state;
        sim_kernel(k)->state->version++;
        assert_error(sim_kernel_new(NULL, sim_kernel_get_state_fd(k), &other, &problem), EINVAL);
        assert_non_null(strstr(problem.text, "version"));
}

/* No kernel survives a reboot. */
static void state_of_another_boot(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p"), *next = NULL;
        _cleanup_(host_scan_freep) HostScan *s = NULL;
        _cleanup_close_ int fd = fd_dup(sim_kernel_get_state_fd(k));

        (void)state;
        sim_kernel(k)->state->boot_id[0] = 'x';
        k = kernel_free(k);
        assert_ok(sim_kernel_new(PROFILES_DIR "/small.json", fd, &next, NULL));
        assert_ok(next->ops->scan(next, NULL, 0, &s));
        assert_int_equal(s->n_iommus, 1);
        assert_nothing_left(next);
}

static void descriptors_of_another_host(void **state) {
        _cleanup_(kernel_freep) Kernel *a = host_new("small"), *b = host_new("small");
        Vm vm = vm_new(a, FN_NIC, false);
        uint32_t id;

        (void)state;
        assert_error(b->ops->ioas_alloc(b, vm.iommufd, &id), EBADF);
        assert_error(a->ops->ioas_alloc(a, vm.cdev, &id), EBADF);
        assert_error(a->ops->ioas_alloc(a, sim_kernel_get_state_fd(a), &id), EBADF);
        assert_error(a->ops->cdev_attach(a, vm.iommufd, vm.ioas), EBADF);
        vm_close(&vm);
        assert_nothing_left(a);
}

/* What is full of what others let go makes room when it is asked for more. */
static void full_of_the_dead(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Vm dead, vm;

        (void)state;
        assert_ok(sim_set_limit(k, SIM_LIMIT_GUEST_IDS, KERNEL_NONE, 1));
        dead = vm_new(k, FN_NIC, true);
        vm = vm_new(k, FN_NVME, false);
        assert_error(vm_add_viommu(k, &vm), ENOSPC);
        vm_close(&dead);
        assert_ok(vm_add_viommu(k, &vm));
        vm_close(&vm);
        assert_nothing_left(k);
}

static void many_contexts(void **state) {
        enum { N = 600 };
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        int fds[N];
        PciAddress nic = FN_NIC;
        uint32_t id;
        SimCounters n;

        (void)state;
        for (int round = 0; round < 2; round++) {
                for (int i = 0; i < N; i++) {
                        assert_ok(k->ops->iommufd_open(k, &fds[i]));
                        assert_ok(k->ops->ioas_alloc(k, fds[i], &id));
                        assert_int_equal(id, 1);
                }
                for (int i = 0; i < N; i += 2)
                        (void)close(fds[i]);
                /* A look at one function takes little back, but never what is in use. */
                for (int i = 0; i < N / 16; i++) {
                        _cleanup_(host_scan_freep) HostScan *s = NULL;

                        assert_ok(k->ops->scan(k, &nic, 1, &s));
                        assert_int_equal(s->n_functions, 1);
                }
                sim_get_counters(k, &n);
                assert_int_equal(n.contexts, N / 2);
                assert_int_equal(n.ioas, N / 2);
                for (int i = 1; i < N; i += 2) {
                        assert_ok(k->ops->object_probe(k, fds[i], KERNEL_OBJECT_IOAS, 1));
                        (void)close(fds[i]);
                }
                assert_nothing_left(k);
        }
}

int test_sim_state(void) {
        const struct CMUnitTest state[] = {
                cmocka_unit_test(process_dies),
                cmocka_unit_test(page_holds_the_context),
                cmocka_unit_test(vmm_maps_the_descriptor),
                cmocka_unit_test(kernel_is_reopened),
                cmocka_unit_test(mutex_survives_its_owner),
                cmocka_unit_test(state_in_a_file),
                cmocka_unit_test(state_of_another_kind),
                cmocka_unit_test(state_of_another_version),
                cmocka_unit_test(state_of_another_boot),
                cmocka_unit_test(descriptors_of_another_host),
                cmocka_unit_test(full_of_the_dead),
                cmocka_unit_test(many_contexts),
        };

        return cmocka_run_group_tests(state, NULL, NULL);
}
