/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "test-sim.h"

/* Faults, delays, hooks and counts, and a sweep of each over a VM's whole life. */

static uint64_t now_msec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void fault_by_name(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        uint32_t id;
        int fd;

        (void)state;
        assert_ok(sim_inject_fault(k, "ioas_alloc", 2, EIO));
        assert_ok(k->ops->iommufd_open(k, &fd));
        assert_ok(k->ops->ioas_alloc(k, fd, &id));
        assert_error(k->ops->ioas_alloc(k, fd, &id), EIO);
        assert_ok(k->ops->ioas_alloc(k, fd, &id)); /* one-shot */
        assert_int_equal(id, 2);                   /* and the failed one did nothing */
        (void)close(fd);
}

static void fault_by_any(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small"), *other = NULL;
        int fd, watch;

        (void)state;
        assert_ok(sim_kernel_new(NULL, sim_kernel_get_state_fd(k), &other, NULL));
        assert_ok(sim_inject_fault(k, NULL, 2, ENOMEM));
        assert_ok(other->ops->watch(other, &watch)); /* which is not counted */
        assert_ok(other->ops->iommufd_open(other, &fd));
        assert_error(other->ops->object_destroy(other, fd, 1), ENOMEM);
        assert_error(other->ops->object_destroy(other, fd, 1), ENOENT);
        (void)close(fd);
}

static void faults_are_bounded(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        int fd;

        (void)state;
        assert_error(sim_inject_fault(k, "iommufd_close", 1, EIO), ENOENT);
        assert_error(sim_inject_fault(k, "iommufd_open", 0, EIO), EINVAL);
        assert_error(sim_inject_fault(k, "iommufd_open", 1, 0), EINVAL);
        for (int i = 0; i < 16; i++)
                assert_ok(sim_inject_fault(k, "iommufd_open", 1, EIO));
        assert_error(sim_inject_fault(k, "iommufd_open", 1, EIO), ENOSPC);
        assert_ok(sim_clear_faults(k));
        assert_ok(k->ops->iommufd_open(k, &fd));
        (void)close(fd);
}

static void *slow_open(void *userdata) {
        Kernel *k = userdata;
        int fd = -1;

        if (k->ops->iommufd_open(k, &fd) >= 0)
                (void)close(fd);
        return NULL;
}

static void delays_hold_up_nobody_else(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        _cleanup_(host_scan_freep) HostScan *s = NULL;
        uint64_t start = now_msec();
        pthread_t thread;

        (void)state;
        assert_ok(sim_set_delay(k, "iommufd_open", 400 * 1000));
        assert_error(sim_set_delay(k, "nothing", 1), ENOENT);
        assert_int_equal(pthread_create(&thread, NULL, slow_open, k), 0);
        assert_ok(k->ops->scan(k, NULL, 0, &s));
        assert_true(now_msec() - start < 400);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(now_msec() - start >= 400);

        assert_ok(sim_set_delay(k, NULL, 0));
        start = now_msec();
        (void)slow_open(k);
        assert_true(now_msec() - start < 400);
}

static void counts(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        Vm vm = vm_new(k, FN_NIC, true);
        uint64_t n;

        (void)state;
        assert_ok(sim_count_calls(k, "viommu_alloc", &n));
        assert_int_equal(n, 1);
        assert_ok(sim_count_calls(k, NULL, &n));
        assert_int_equal(n, 6);
        assert_error(sim_count_calls(k, "nothing", &n), ENOENT);
        vm_close(&vm);
}

typedef struct HookLog {
        char text[256];
} HookLog;

static void log_hook(void *userdata, const char *op, bool before) {
        HookLog *log = userdata;

        strcat(log->text, before ? "<" : ">");
        strcat(log->text, op);
}

static void hooks(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        HookLog log = {};
        uint32_t id;
        int fd;

        (void)state;
        sim_set_hook(k, log_hook, &log);
        assert_ok(k->ops->iommufd_open(k, &fd));
        assert_ok(sim_inject_fault(k, "ioas_alloc", 1, EIO));
        assert_error(k->ops->ioas_alloc(k, fd, &id), EIO);
        sim_set_hook(k, NULL, NULL);
        assert_ok(k->ops->ioas_alloc(k, fd, &id));
        assert_string_equal(log.text, "<iommufd_open>iommufd_open<ioas_alloc>ioas_alloc");
        (void)close(fd);
}

/* A VM's life in calls that may fail: stops at the first that does, and closes everything. */
static int live(Kernel *k) {
        _cleanup_close_ int iommufd = -1, cdev = -1, ram = memfd_create("ram", MFD_CLOEXEC);
        KernelMapping m = { .fd = ram, .length = 1 << 20, .writable = true };
        PciAddress nic = FN_NIC;
        KernelViommuRequest request = { .type = KERNEL_VIOMMU_TYPE_AMD, .data_len = 8 };
        uint32_t device, ioas, hwpt, vdevice;
        KernelViommu viommu;
        volatile void *page;
        int r;

        if (ftruncate(ram, 1 << 20) < 0)
                return -errno;
        if ((r = k->ops->iommufd_open(k, &iommufd)) < 0 ||
            (r = k->ops->iommufd_account_process(k, iommufd)) < 0 ||
            (r = k->ops->ioas_alloc(k, iommufd, &ioas)) < 0 ||
            (r = k->ops->cdev_open(k, &nic, &cdev)) < 0 ||
            (r = k->ops->cdev_bind(k, cdev, iommufd, NULL, &device)) < 0 ||
            (r = k->ops->hwpt_alloc_nest_parent(k, iommufd, device, ioas, &hwpt)) < 0 ||
            (r = k->ops->ioas_map_file(k, iommufd, ioas, &m)) < 0 ||
            (r = k->ops->cdev_attach(k, cdev, hwpt)) < 0)
                return r;
        request.device_id = device;
        request.hwpt_id = hwpt;
        if ((r = k->ops->viommu_alloc(k, iommufd, &request, &viommu)) < 0 ||
            (r = k->ops->vdevice_alloc(k, iommufd, viommu.viommu_id, device, (GuestDeviceId){ 8 },
                                       &vdevice)) < 0 ||
            (r = k->ops->vfmmio_map(k, iommufd, viommu.vfmmio_offset, &page)) < 0)
                return r;
        r = k->ops->vfmmio_unmap(k, iommufd, viommu.vfmmio_offset, page);
        if (r < 0) {
                (void)munmap((void *)page, KERNEL_VFMMIO_SIZE);
                return r;
        }
        if ((r = k->ops->object_destroy(k, iommufd, vdevice)) < 0 ||
            (r = k->ops->cdev_detach(k, cdev)) < 0)
                return r;
        return 0;
}

static void fault_sweep(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        uint64_t before, after;

        (void)state;
        assert_ok(sim_count_calls(k, NULL, &before));
        assert_ok(live(k));
        assert_ok(sim_count_calls(k, NULL, &after));
        assert_int_equal(after - before, 14);
        assert_nothing_left(k);

        for (uint64_t n = 1; n <= after - before; n++) {
                assert_ok(sim_inject_fault(k, NULL, n, ENXIO));
                assert_error(live(k), ENXIO);
                assert_nothing_left(k);
                assert_ok(live(k));
        }
}

typedef struct CrashPoint {
        int countdown;
} CrashPoint;

static void crash_hook(void *userdata, const char *op, bool before) {
        CrashPoint *point = userdata;

        (void)op, (void)before;
        if (--point->countdown == 0)
                _exit(42);
}

/* Dies before and after every call, in a process of its own. */
static void crash_sweep(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        int status = -1;

        (void)state;
        for (int n = 1; status != 0; n++) {
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0) {
                        CrashPoint point = { n };
                        Kernel *own;

                        if (sim_kernel_new(NULL, sim_kernel_get_state_fd(k), &own, NULL) < 0)
                                _exit(1);
                        sim_set_hook(own, crash_hook, &point);
                        _exit(live(own) < 0 ? 2 : 0);
                }

                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 42));
                assert_nothing_left(k);
                if (status == 0)
                        assert_int_equal(n, 2 * 14 + 1);
        }
        assert_ok(live(k));
}

static void *live_many_times(void *userdata) {
        Kernel *k = userdata;
        size_t n = 0;

        for (int i = 0; i < 200; i++) {
                uint32_t id;
                int fd;

                if (k->ops->iommufd_open(k, &fd) >= 0 && k->ops->ioas_alloc(k, fd, &id) >= 0 &&
                    id == 1 && k->ops->object_destroy(k, fd, id) >= 0)
                        n++;
                (void)close(fd);
        }
        return (void *)n;
}

static void threads_and_processes(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        pthread_t threads[4];
        int status;
        pid_t pid;

        (void)state;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                _exit(live_many_times(k) == (void *)200 ? 0 : 1);

        for (size_t i = 0; i < ELEMENTSOF(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, live_many_times, k), 0);
        for (size_t i = 0; i < ELEMENTSOF(threads); i++) {
                void *n;

                assert_int_equal(pthread_join(threads[i], &n), 0);
                assert_int_equal((size_t)n, 200);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        assert_nothing_left(k);
}

int test_sim_trouble(void) {
        const struct CMUnitTest trouble[] = {
                cmocka_unit_test(fault_by_name),
                cmocka_unit_test(fault_by_any),
                cmocka_unit_test(faults_are_bounded),
                cmocka_unit_test(delays_hold_up_nobody_else),
                cmocka_unit_test(counts),
                cmocka_unit_test(hooks),
                cmocka_unit_test(fault_sweep),
                cmocka_unit_test(crash_sweep),
                cmocka_unit_test(threads_and_processes),
        };

        return cmocka_run_group_tests(trouble, NULL, NULL);
}
