/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>

#include "contract.h"

/* Mapping guest memory: ranges, files, what pinning refuses, and what unmapping will not split. */

#define PAGE UINT64_C(4096)
#define BASE UINT64_C(0x100000000)

static Context context_memory(void) {
        Context c = context_open();

        assert_ok(OP->ioas_alloc(K, c.iommufd, &c.ioas));
        c.ram = memory_new(CONTRACT_RAM_BYTES);
        assert_true(c.ram >= 0);
        return c;
}

static int map(const Context *c, int fd, uint64_t offset, uint64_t length, uint64_t iova) {
        return OP->ioas_map_file(K, c->iommufd, c->ioas,
                                 &(KernelMapping){ fd, offset, length, iova, true });
}

static int unmap(const Context *c, uint64_t iova, uint64_t length) {
        return OP->ioas_unmap(K, c->iommufd, c->ioas, iova, length);
}

static void map_and_unmap(void **state) {
        Context c = context_memory();

        (void)state;
        assert_ok(map(&c, c.ram, 0, CONTRACT_RAM_BYTES, 0));
        assert_ok(unmap(&c, 0, CONTRACT_RAM_BYTES));
        assert_error(unmap(&c, 0, CONTRACT_RAM_BYTES), ENOENT);
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        context_close(&c);
}

static void map_overlap(void **state) {
        Context c = context_memory();

        (void)state;
        assert_ok(map(&c, c.ram, 0, 4 * PAGE, BASE));
        assert_error(map(&c, c.ram, 0, 4 * PAGE, BASE), EEXIST);
        assert_error(map(&c, c.ram, 0, 2 * PAGE, BASE + 3 * PAGE), EEXIST);
        assert_error(map(&c, c.ram, 0, 2 * PAGE, BASE - PAGE), EEXIST);
        assert_error(map(&c, c.ram, 0, 8 * PAGE, BASE - 2 * PAGE), EEXIST);
        assert_ok(map(&c, c.ram, 0, PAGE, BASE + 4 * PAGE)); /* touching is not overlapping */
        assert_ok(map(&c, c.ram, 0, PAGE, BASE - PAGE));     /* nor is the same file twice */
        context_close(&c);
}

static void map_bad_range(void **state) {
        Context c = context_memory();

        (void)state;
        assert_error(map(&c, c.ram, 0, 0, BASE), EINVAL);
        assert_error(map(&c, c.ram, 0, UINT64_MAX, BASE), EOVERFLOW);
        assert_error(map(&c, c.ram, 0, PAGE, UINT64_MAX), EOVERFLOW);
        assert_error(map(&c, c.ram, 0, 2 * PAGE, -PAGE), EOVERFLOW);
        assert_error(map(&c, c.ram, -PAGE, 2 * PAGE, BASE), EOVERFLOW);
        context_close(&c);
}

/* Pages matter once there is a page table; before that, every byte may be mapped. */
static void map_misaligned(void **state) {
        Context c = context_bind(0);

        (void)state;
        c.ram = memory_new(CONTRACT_RAM_BYTES);
        assert_ok(map(&c, c.ram, 0, PAGE, BASE + 1));
        assert_error(map(&c, c.ram, 0, PAGE, BASE + PAGE), EEXIST);
        assert_ok(map(&c, c.ram, 0, PAGE - 1, BASE + 2 * PAGE));
        assert_ok(map(&c, c.ram, 1, PAGE, BASE + 4 * PAGE));
        assert_error(OP->cdev_attach(K, c.cdev, c.ioas), EADDRINUSE);

        assert_ok(unmap(&c, 0, UINT64_MAX));
        assert_ok(OP->cdev_attach(K, c.cdev, c.ioas));
        assert_error(map(&c, c.ram, 0, PAGE, BASE + 1), EINVAL);
        assert_error(map(&c, c.ram, 0, PAGE - 1, BASE), EINVAL);
        assert_error(map(&c, c.ram, 1, PAGE, BASE), EINVAL);
        assert_ok(map(&c, c.ram, 0, PAGE, BASE));

        assert_ok(OP->cdev_detach(K, c.cdev)); /* and no longer when it is gone */
        assert_ok(map(&c, c.ram, 0, PAGE, BASE + PAGE + 1));
        context_close(&c);
}

static void map_bad_names(void **state) {
        Context c = context_memory();
        KernelMapping m = { .fd = c.ram, .length = PAGE, .iova = BASE };

        (void)state;
        assert_error(map(&c, -1, 0, PAGE, BASE), EBADF);
        assert_error(OP->ioas_map_file(K, c.iommufd, 4711, &m), ENOENT);
        assert_error(OP->ioas_unmap(K, c.iommufd, 4711, BASE, PAGE), ENOENT);
        context_close(&c);
}

static void map_order_of_checks(void **state) {
        Context c = context_memory();

        (void)state;
        assert_ok(map(&c, c.ram, 0, PAGE, BASE));
        assert_error(map(&c, -1, 0, 0, BASE), EINVAL);
        assert_error(map(&c, -1, 0, UINT64_MAX, BASE), EOVERFLOW);
        assert_error(map(&c, -1, -PAGE, 2 * PAGE, BASE), EOVERFLOW);
        assert_error(map(&c, -1, 0, PAGE, BASE), EBADF);
        assert_error(map(&c, -1, 0, 2 * PAGE, -PAGE), EBADF);
        assert_error(OP->ioas_map_file(K, c.iommufd, 4711, &(KernelMapping){ .fd = -1 }), ENOENT);
        context_close(&c);
}

static void unmap_does_not_split(void **state) {
        Context c = context_memory();

        (void)state;
        assert_ok(map(&c, c.ram, 0, 4 * PAGE, BASE));
        assert_ok(map(&c, c.ram, 4 * PAGE, 4 * PAGE, BASE + 4 * PAGE));
        assert_error(unmap(&c, BASE, PAGE), ENOENT);
        assert_error(unmap(&c, BASE + PAGE, PAGE), ENOENT);
        assert_error(unmap(&c, BASE + PAGE, 7 * PAGE), ENOENT);
        assert_error(unmap(&c, BASE + 16 * PAGE, PAGE), ENOENT);
        assert_ok(unmap(&c, BASE - PAGE, 16 * PAGE)); /* several whole ones, and holes */
        assert_ok(map(&c, c.ram, 0, 8 * PAGE, BASE));
        context_close(&c);
}

/* What would have to be split comes last: the whole ones before it are gone by then. */
static void unmap_stops_midway(void **state) {
        Context c = context_memory();

        (void)state;
        assert_ok(map(&c, c.ram, 0, 2 * PAGE, BASE));
        assert_ok(map(&c, c.ram, 0, 4 * PAGE, BASE + 2 * PAGE));
        assert_error(unmap(&c, BASE, 4 * PAGE), ENOENT);
        assert_error(unmap(&c, BASE, 2 * PAGE), ENOENT);
        assert_ok(unmap(&c, BASE + 2 * PAGE, 4 * PAGE));
        context_close(&c);
}

static void unmap_bad_range(void **state) {
        Context c = context_memory();

        (void)state;
        assert_error(unmap(&c, BASE, 0), EINVAL);
        assert_error(unmap(&c, BASE, UINT64_MAX), EOVERFLOW);
        assert_error(unmap(&c, -PAGE, 2 * PAGE), EOVERFLOW);
        assert_ok(map(&c, c.ram, 0, PAGE, BASE));
        assert_ok(unmap(&c, 0, UINT64_MAX)); /* the one way to say: everything */
        assert_ok(unmap(&c, 0, UINT64_MAX));
        context_close(&c);
}

/* Until something pins, nobody looks at the file. */
static void unpinned_takes_any_file(void **state) {
        Context c = context_memory();
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void)state;
        assert_ok(map(&c, null, 0, PAGE, BASE));
        assert_ok(map(&c, c.ram, CONTRACT_RAM_BYTES, PAGE, BASE + PAGE));
        (void)fd_close(null);
        context_close(&c);
}

static void pinned_takes_memory_only(void **state) {
        Context c = context_nest(0);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC),
            disk = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

        (void)state;
        c.ram = memory_new(CONTRACT_RAM_BYTES);
        assert_error(map(&c, null, 0, PAGE, BASE), EINVAL);
        assert_error(map(&c, disk, 0, PAGE, BASE), EINVAL);
        assert_error(map(&c, c.ram, CONTRACT_RAM_BYTES, PAGE, BASE), EINVAL);
        assert_error(map(&c, c.ram, CONTRACT_RAM_BYTES - PAGE, 2 * PAGE, BASE), EINVAL);
        assert_ok(map(&c, c.ram, CONTRACT_RAM_BYTES - PAGE, PAGE, BASE));
        assert_error(unmap(&c, BASE + PAGE, PAGE), ENOENT); /* the failed ones left nothing */
        (void)fd_close(null);
        (void)fd_close(disk);
        context_close(&c);
}

static void bad_file_fails_the_nest_parent(void **state) {
        Context c = context_bind(0);
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        (void)state;
        if (!contract_host.nests) {
                (void)fd_close(null);
                context_close(&c);
                contract_skip("this kernel gives no nest parents");
        }
        assert_ok(map(&c, null, 0, PAGE, BASE));
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.ioas, &c.hwpt), EINVAL);
        assert_ok(unmap(&c, BASE, PAGE));
        assert_ok(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, c.ioas, &c.hwpt));
        (void)fd_close(null);
        context_close(&c);
}

static void pinning_is_limited(void **state) {
        Context c = context_nest(0);
        uint32_t ioas, hwpt;

        (void)state;
        c.ram = memory_new(CONTRACT_RAM_BYTES);
        assert_ok(contract_limit_pinned(4 * PAGE));
        assert_ok(map(&c, c.ram, 0, 4 * PAGE, BASE));
        assert_error(map(&c, c.ram, 0, PAGE, BASE + 4 * PAGE), ENOMEM);
        assert_ok(unmap(&c, BASE, 4 * PAGE));
        assert_ok(map(&c, c.ram, 0, PAGE, BASE + 4 * PAGE));

        /* What is only mapped is not counted, until a page table comes. */
        assert_ok(OP->ioas_alloc(K, c.iommufd, &ioas));
        assert_ok(OP->ioas_map_file(K, c.iommufd, ioas,
                                    &(KernelMapping){ c.ram, 0, 8 * PAGE, BASE, true }));
        assert_error(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, ioas, &hwpt), ENOMEM);
        assert_ok(contract_limit_pinned(UINT64_MAX));
        assert_ok(OP->hwpt_alloc_nest_parent(K, c.iommufd, c.device, ioas, &hwpt));
        context_close(&c);
}

/* A mapping needs neither the caller's file descriptor nor its memory afterwards. */
static void mapping_outlives_the_file_descriptor(void **state) {
        Context c = context_nest(0);

        (void)state;
        c.ram = memory_new(CONTRACT_RAM_BYTES);
        assert_ok(map(&c, c.ram, 0, CONTRACT_RAM_BYTES, BASE));
        c.ram = fd_close(c.ram);
        assert_ok(unmap(&c, BASE, CONTRACT_RAM_BYTES));
        context_close(&c);
}

static void destroy_takes_mappings_along(void **state) {
        Context c = context_memory();

        (void)state;
        assert_ok(map(&c, c.ram, 0, CONTRACT_RAM_BYTES, BASE));
        assert_ok(OP->object_destroy(K, c.iommufd, c.ioas));
        context_close(&c);
}

int contract_run_ioas(void) {
        const struct CMUnitTest ioas[] = {
                contract_case(map_and_unmap),
                contract_case(map_overlap),
                contract_case(map_bad_range),
                contract_case(map_misaligned),
                contract_case(map_bad_names),
                contract_case(map_order_of_checks),
                contract_case(unmap_does_not_split),
                contract_case(unmap_stops_midway),
                contract_case(unmap_bad_range),
                contract_case(unpinned_takes_any_file),
                contract_case(pinned_takes_memory_only),
                contract_case(pinning_is_limited),
                contract_case(bad_file_fails_the_nest_parent),
                contract_case(mapping_outlives_the_file_descriptor),
                contract_case(destroy_takes_mappings_along),
        };

        return cmocka_run_group_tests(ioas, NULL, NULL);
}
