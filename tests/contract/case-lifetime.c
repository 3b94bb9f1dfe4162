/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "contract.h"

/* Who keeps what alive: the order of destruction, closing in the wrong order, and other processes. */

static void destroy_order(void **state) {
        Context c = context_viommu(0);
        uint32_t vdevice;

        (void)state;
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device,
                                    (GuestDeviceId){ 8 }, &vdevice));
        assert_error(OP->object_destroy(K, c.iommufd, c.ioas), EBUSY);
        assert_error(OP->object_destroy(K, c.iommufd, c.hwpt), EBUSY);
        assert_error(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id), EBUSY);
        assert_error(OP->object_destroy(K, c.iommufd, c.device), EBUSY);

        assert_ok(OP->object_destroy(K, c.iommufd, vdevice));
        assert_error(OP->object_destroy(K, c.iommufd, c.device), EBUSY);
        assert_error(OP->object_destroy(K, c.iommufd, c.hwpt), EBUSY);
        assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id));
        assert_error(OP->object_destroy(K, c.iommufd, c.ioas), EBUSY);
        assert_ok(OP->object_destroy(K, c.iommufd, c.hwpt));
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        assert_error(OP->object_destroy(K, c.iommufd, c.device), EBUSY);
        c.cdev = fd_close(c.cdev);
        assert_error(OP->object_destroy(K, c.iommufd, c.device), ENOENT);
        context_close(&c);
}

static void closing_the_cdev_unbinds(void **state) {
        Context c = context_nest(0);

        (void)state;
        assert_ok(OP->cdev_attach(K, c.cdev, c.hwpt));
        c.cdev = fd_close(c.cdev);
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_DEVICE, c.device), ENOENT);
        assert_ok(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, c.hwpt));
        assert_ok(OP->object_destroy(K, c.iommufd, c.hwpt));
        context_close(&c);
}

/* The id of a vDEVICE that lost its device is neither there nor free. */
static void tombstone(void **state) {
        Context c = context_viommu(0);
        uint32_t vdevice, id, highest = 0;

        (void)state;
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device,
                                    (GuestDeviceId){ 8 }, &vdevice));
        c.cdev = fd_close(c.cdev);
        assert_error(OP->object_probe(K, c.iommufd, KERNEL_OBJECT_ANY, vdevice), ENOENT);
        assert_error(OP->object_destroy(K, c.iommufd, vdevice), ENOENT);

        for (size_t i = 0; i < 8; i++) {
                assert_ok(OP->ioas_alloc(K, c.iommufd, &id));
                assert_int_not_equal(id, vdevice);
                highest = MAX(highest, id);
        }
        assert_true(highest > vdevice);

        /* The vIOMMU and its guest device id are free of it. */
        assert_ok(bind_to(&contract_host.functions[0], c.iommufd, &c.cdev, &c.device));
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device,
                                    (GuestDeviceId){ 8 }, &id));
        assert_int_not_equal(id, vdevice);
        assert_ok(OP->object_destroy(K, c.iommufd, id));
        assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id));
        context_close(&c);
}

/* A tombstone is an object to those who ask whether there are any. */
static void tombstone_is_something(void **state) {
        Context c = context_viommu(0);
        uint32_t vdevice;
        int r;

        (void)state;
        assert_ok(OP->vdevice_alloc(K, c.iommufd, c.viommu.viommu_id, c.device,
                                    (GuestDeviceId){ 8 }, &vdevice));
        c.cdev = fd_close(c.cdev);
        assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id));
        assert_ok(OP->object_destroy(K, c.iommufd, c.hwpt));
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        r = OP->iommufd_account_process(K, c.iommufd);
        context_close(&c);
        assert_true(r == -EBUSY || r == -EPERM);
}

static void closing_the_iommufd_frees_nothing(void **state) {
        Context c = context_nest(0), other = context_open();
        uint32_t device;
        int cdev;

        (void)state;
        c.iommufd = fd_close(c.iommufd);

        assert_ok(OP->cdev_attach(K, c.cdev, c.hwpt)); /* the objects are still there */
        assert_ok(OP->cdev_detach(K, c.cdev));
        assert_ok(OP->cdev_open(K, &contract_host.functions[0], &cdev));
        assert_error(OP->cdev_bind(K, cdev, other.iommufd, NULL, &device), EINVAL);
        c.cdev = fd_close(c.cdev);
        assert_ok(OP->cdev_bind(K, cdev, other.iommufd, NULL, &device));
        (void)close(cdev);
        context_close(&other);
        context_close(&c);
}

static int fill(const Context *c) {
        KernelViommuRequest request = {
                .type = KERNEL_VIOMMU_TYPE_AMD,
                .device_id = c->device,
                .hwpt_id = c->hwpt,
                .data_len = contract_host.data_len,
        };
        KernelViommu viommu;
        int r;

        do
                r = OP->viommu_alloc(K, c->iommufd, &request, &viommu);
        while (r == 0);
        return r;
}

/* Guest IDs tell what the real kernel keeps to itself: whether a context is gone. */
static void what_holds_a_context(void **state) {
        Context c, other;
        KernelViommuRequest request = { .type = KERNEL_VIOMMU_TYPE_AMD,
                                        .data_len = contract_host.data_len };
        volatile void *page;

        (void)state;
        if (contract_host.max_guest_ids == 0)
                contract_skip("nobody said how many Guest IDs there are (--max-guest-ids)");
        c = context_viommu_real(0);
        if (contract_host.n_functions < 2) {
                context_close(&c);
                contract_skip("only one idle function");
        }
        other = context_nest(1);
        request.device_id = other.device;
        request.hwpt_id = other.hwpt;

        assert_ok(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset, &page));
        assert_int_equal(fill(&c), -ENOSPC);
        c.iommufd = fd_close(c.iommufd); /* the cdev holds it, and the mapping */
        assert_error(OP->viommu_alloc(K, other.iommufd, &request, &other.viommu), ENOSPC);
        c.cdev = fd_close(c.cdev); /* the mapping does */
        assert_error(OP->viommu_alloc(K, other.iommufd, &request, &other.viommu), ENOSPC);
        assert_int_equal(munmap((void *)page, KERNEL_VFMMIO_SIZE), 0);
        assert_ok(OP->viommu_alloc(K, other.iommufd, &request, &other.viommu));
        context_close(&c);
        context_close(&other);
}

/* Runs @child in a process of its own; returns its pid once it has said that it is there. */
static pid_t spawn(void (*child)(const Context *), const Context *c) {
        int pipes[2];
        char byte;
        pid_t pid;

        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void)close(pipes[0]);
                child(c);
                (void)!write(pipes[1], "x", 1);
                for (;;)
                        (void)pause();
        }

        (void)close(pipes[1]);
        assert_int_equal(read(pipes[0], &byte, 1), 1);
        (void)close(pipes[0]);
        return pid;
}

static void end(pid_t pid) {
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void child_holds_all(const Context *c) {
        (void)c;
}

static void another_process_holds_descriptors(void **state) {
        Context c = context_nest(0), other;
        pid_t pid = spawn(child_holds_all, &c);

        (void)state;
        context_close(&c);
        other = context_open();
        assert_error(
                bind_to(&contract_host.functions[0], other.iommufd, &other.cdev, &other.device),
                EINVAL);
        end(pid);
        assert_ok(bind_to(&contract_host.functions[0], other.iommufd, &other.cdev, &other.device));
        context_close(&other);
}

static void child_maps_page(const Context *c) {
        volatile void *page;

        if (OP->vfmmio_map(K, c->iommufd, c->viommu.vfmmio_offset, &page) < 0)
                _exit(1);
        *(volatile uint32_t *)page = 0xfeedbeef;
        (void)close(c->iommufd);
        (void)close(c->cdev);
}

static void another_process_maps_the_page(void **state) {
        Context c = context_viommu_real(0);
        volatile void *page;
        pid_t pid = spawn(child_maps_page, &c);

        (void)state;
        assert_error(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id), EBUSY);
        assert_ok(OP->vfmmio_map(K, c.iommufd, c.viommu.vfmmio_offset, &page));
        assert_int_equal(*(volatile uint32_t *)page, 0xfeedbeef);
        assert_ok(OP->vfmmio_unmap(K, c.iommufd, c.viommu.vfmmio_offset, page));
        end(pid);
        assert_ok(OP->object_destroy(K, c.iommufd, c.viommu.viommu_id));
        context_close(&c);
}

int contract_run_lifetime(void) {
        const struct CMUnitTest lifetime[] = {
                contract_case(destroy_order),
                contract_case(closing_the_cdev_unbinds),
                contract_case(tombstone),
                contract_case(tombstone_is_something),
                contract_case(closing_the_iommufd_frees_nothing),
                contract_case(what_holds_a_context),
                contract_case(another_process_holds_descriptors),
                contract_case(another_process_maps_the_page),
        };

        return cmocka_run_group_tests(lifetime, NULL, NULL);
}
