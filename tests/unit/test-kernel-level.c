/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What answers of a kernel say about its level; and the questions, put to the simulated kernel at each level. */

#include "unit.h"

#include "inventory/kernel-level.h"
#include "kernel/sim/sim.h"

#define EFR_ALL (EFR_GT | EFR_GIO | EFR_VIOMMU)

static const HostIommuInfo iommu = { .index = 3,
                                     .name = "ivhd3",
                                     .vendor = IOMMU_VENDOR_AMD,
                                     .efr = EFR_ALL,
                                     .efr2 = EFR2_GCR3TRP_MODE };

static void names(void **state) {
        static const char *const levels[] = { "none", "nesting", "plumbing", "accelerated",
                                              "unknown" };
        KernelLevel again;

        (void)state;
        assert_int_equal(ELEMENTSOF(levels), _KERNEL_LEVEL_MAX);
        for (KernelLevel l = 0; l < _KERNEL_LEVEL_MAX; l++)
                assert_string_equal(kernel_level_to_string(l), levels[l]);
        for (KernelLevel l = 0; l < KERNEL_LEVEL_UNKNOWN; l++) {
                assert_ok(kernel_level_from_string(levels[l], &again));
                assert_int_equal(again, l);
        }
        assert_error(kernel_level_from_string("unknown", &again), EINVAL);
        assert_error(kernel_level_from_string("", &again), EINVAL);
        assert_aborts((void)kernel_level_to_string(_KERNEL_LEVEL_MAX));
}

static void from_scan(void **state) {
        static const struct {
                IommuVendor vendor;
                uint64_t efr, efr2;
                int error;
                KernelLevel level;
                const char *says;
        } cases[] = {
                { IOMMU_VENDOR_AMD, EFR_ALL, 8, 0, KERNEL_LEVEL_UNKNOWN, "Not probed yet" },
                { IOMMU_VENDOR_AMD, UINT64_MAX, UINT64_MAX, 0, KERNEL_LEVEL_UNKNOWN, "Not probed" },
                { IOMMU_VENDOR_AMD, EFR_GT | EFR_GIO, 8, 0, KERNEL_LEVEL_UNKNOWN, "Not probed" },
                { IOMMU_VENDOR_AMD, EFR_ALL, 8, -ENOENT, KERNEL_LEVEL_NONE, "CONFIG_IOMMUFD" },
                { IOMMU_VENDOR_AMD, EFR_ALL, 8, -EACCES, KERNEL_LEVEL_NONE, "Permission denied" },
                { IOMMU_VENDOR_INTEL, EFR_ALL, 8, -ENOENT, KERNEL_LEVEL_NONE, "no /dev/iommu" },
                { IOMMU_VENDOR_INTEL, EFR_ALL, 8, 0, KERNEL_LEVEL_NONE, "ivhd3 is not an AMD" },
                { IOMMU_VENDOR_OTHER, 0, 0, 0, KERNEL_LEVEL_NONE, "not an AMD" },
                { IOMMU_VENDOR_AMD, 0, 0, 0, KERNEL_LEVEL_NONE,
                  "EFR lacks GTSup GIOSup GCR3TRPMode." },
                { IOMMU_VENDOR_AMD, EFR_GIO, 8, 0, KERNEL_LEVEL_NONE, "EFR lacks GTSup." },
                { IOMMU_VENDOR_AMD, EFR_GT, 8, 0, KERNEL_LEVEL_NONE, "EFR lacks GIOSup." },
                { IOMMU_VENDOR_AMD, EFR_ALL, ~UINT64_C(8), 0, KERNEL_LEVEL_NONE,
                  "EFR lacks GCR3TRPMode." },
                { IOMMU_VENDOR_AMD, ~EFR_GT, 0, 0, KERNEL_LEVEL_NONE,
                  "EFR lacks GTSup GCR3TRPMode." },
        };

        (void)state;
        for_each_case(c, cases) {
                HostIommuInfo info = iommu;
                char reason[KERNEL_LEVEL_REASON_SIZE];

                info.vendor = c->vendor;
                info.efr = c->efr;
                info.efr2 = c->efr2;
                assert_int_equal(kernel_level_from_scan(&info, c->error, reason), c->level);
                assert_contains(reason, c->says);
        }
}

static void from_probe(void **state) {
        static const struct {
                KernelProbe
                        probe; /* open, bind, nest parent, type AMD, type bogus, alloc, offset, hw queue */
                KernelLevel level;
                const char *says;
        } cases[] = {
#define X -EOPNOTSUPP
                { { 0, 0, 0, -ENOENT, X, 0, 4096, 0 },
                  KERNEL_LEVEL_ACCELERATED,
                  "queues on ivhd3" },
                { { 0, 0, 0, -EINVAL, X, 0, 4096, 0 },
                  KERNEL_LEVEL_ACCELERATED,
                  "hardware queues" },
                { { 0, 0, 0, 0, X, 0, 4096, 0 }, KERNEL_LEVEL_ACCELERATED, "hardware queues" },

                /* The probe itself got stuck: nothing is known. */
                { { -EMFILE, 1, 1, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "could not open" },
                { { -ENOENT, 1, 1, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "No such file" },
                { { 0, -EBUSY, 1, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "could not bind" },
                { { 0, -EACCES, 1, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "Permission denied" },
                { { 0, 1, 1, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "could not bind" },
                { { 0, 0, -ENOMEM, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "nest parent" },
                { { 0, 0, 1, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "nest parent" },

                { { 0, 0, X, 1, 1, 1, 0, 1 }, KERNEL_LEVEL_NONE, "refuses nest" },

                /* Linux 7.3-rc7: any type is taken, and means nothing. */
                { { 0, 0, 0, X, X, X, 0, 1 }, KERNEL_LEVEL_NESTING, "no AMD vIOMMU type" },
                { { 0, 0, 0, X, -ENOENT, X, 0, 1 }, KERNEL_LEVEL_NESTING, "no AMD vIOMMU type" },
                { { 0, 0, 0, 0, 0, 0, 0, 0 }, KERNEL_LEVEL_NESTING, "accepts any" },
                { { 0, 0, 0, 0, 0, 0, 4096, 0 }, KERNEL_LEVEL_NESTING, "accepts any" },
                { { 0, 0, 0, -ENOENT, -ENOENT, 0, 0, 0 }, KERNEL_LEVEL_NESTING, "accepts any" },
                { { 0, 0, 0, -ENOENT, -EINVAL, 0, 0, 0 }, KERNEL_LEVEL_NESTING, "accepts any" },
                { { 0, 0, 0, -ENOENT, X, -EINVAL, 0, 1 }, KERNEL_LEVEL_NESTING, "no instance" },
                { { 0, 0, 0, -ENOENT, X, X, 0, 1 }, KERNEL_LEVEL_NESTING, "makes no instance" },
                { { 0, 0, 0, -ENOENT, X, 0, 0, 0 }, KERNEL_LEVEL_NESTING, "no VF MMIO page" },

                /* The asking failed, which says nothing of the kernel. */
                { { 0, 0, 0, -ENOENT, -EINTR, 0, 0, 0 }, KERNEL_LEVEL_UNKNOWN, "could not ask" },
                { { 0, 0, 0, -ENOMEM, -ENOMEM, 0, 0, 0 }, KERNEL_LEVEL_UNKNOWN, "could not ask" },
                { { 0, 0, 0, -ENOENT, X, -EIO, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "could not allocate" },
                { { 0, 0, 0, -ENOENT, X, -EBUSY, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "could not" },
                { { 0, 0, 0, -ENOENT, X, -ENOENT, 0, 1 },
                  KERNEL_LEVEL_UNKNOWN,
                  "could not allocate" },

                /* A full host is no poor one. */
                { { 0, 0, 0, -ENOENT, X, -ENOSPC, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "was free" },
                { { 0, 0, 0, -ENOENT, X, -ENOMEM, 0, 1 }, KERNEL_LEVEL_UNKNOWN, "was free" },
                { { 0, 0, 0, -ENOENT, X, 0, 4096, X }, KERNEL_LEVEL_PLUMBING, "no AMD hardware" },
                { { 0, 0, 0, -ENOENT, X, 0, 4096, -EIO }, KERNEL_LEVEL_UNKNOWN, "hardware queues" },
#undef X
        };

        (void)state;
        for_each_case(c, cases) {
                char reason[KERNEL_LEVEL_REASON_SIZE] = "";

                assert_int_equal(kernel_level_decide(&iommu, &c->probe, reason), c->level);
                assert_contains(reason, c->says);
        }
}

/* ---- asking ---- */

static Kernel *host_new(const char *profile) {
        char path[512];
        Kernel *k;

        (void)snprintf(path, sizeof(path), "%s/%s.json", PROFILES_DIR, profile);
        assert_ok(sim_kernel_new(path, -1, &k, NULL));
        return k;
}

static void assert_nothing_left(Kernel *k) {
        SimCounters n;

        sim_get_counters(k, &n);
        assert_true(sim_counters_are_zero(&n));
}

static KernelLevel probe(Kernel *k, const char *function, const uint8_t *token) {
        PciAddress a = address(function);
        char reason[KERNEL_LEVEL_REASON_SIZE];
        KernelProbe p;

        assert_ok(kernel_probe(k, &a, token, &p));
        assert_nothing_left(k);
        return kernel_level_decide(&iommu, &p, reason);
}

static void each_level_is_told(void **state) {
        static const struct {
                SimLevel made;
                KernelLevel seen;
        } cases[] = {
                { SIM_LEVEL_NONE, KERNEL_LEVEL_NONE },
                { SIM_LEVEL_NESTING, KERNEL_LEVEL_NESTING },
                { SIM_LEVEL_PLUMBING, KERNEL_LEVEL_PLUMBING },
                { SIM_LEVEL_ACCELERATED, KERNEL_LEVEL_ACCELERATED },
        };
        _cleanup_(kernel_freep) Kernel *k = host_new("small");

        (void)state;
        for (unsigned data_len = 8; data_len <= 16; data_len += 8)
                for_each_case(c, cases) {
                        assert_ok(sim_set_level(k, KERNEL_NONE, c->made));
                        assert_ok(
                                sim_set_limit(k, SIM_LIMIT_VIOMMU_DATA_LEN, KERNEL_NONE, data_len));
                        assert_int_equal(probe(k, "0000:41:00.0", NULL), c->seen);
                }
}

static void a_full_host_tells_nothing(void **state) {
        _cleanup_(kernel_freep) Kernel *k = host_new("small");

        (void)state;
        assert_ok(sim_set_limit(k, SIM_LIMIT_GUEST_IDS, KERNEL_NONE, 0));
        assert_int_equal(probe(k, "0000:41:00.0", NULL), KERNEL_LEVEL_UNKNOWN);
}

static void what_cannot_be_bound_tells_nothing(void **state) {
        static const uint8_t token[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                           0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
        _cleanup_(kernel_freep) Kernel *k = host_new("epyc-2p");
        PciAddress a = address("0000:01:00.0");
        KernelProbe p;

        (void)state;
        assert_int_equal(probe(k, "0000:07:00.0", NULL), KERNEL_LEVEL_UNKNOWN); /* nvme's */
        assert_int_equal(probe(k, "0000:99:00.0", NULL), KERNEL_LEVEL_UNKNOWN);
        assert_int_equal(probe(k, "0000:51:00.1", NULL), KERNEL_LEVEL_UNKNOWN);
        assert_int_equal(probe(k, "0000:51:00.1", token), KERNEL_LEVEL_ACCELERATED);
        assert_ok(sim_set_iommufd_error(k, ENOENT));
        assert_int_equal(probe(k, "0000:01:00.0", NULL), KERNEL_LEVEL_UNKNOWN);
        assert_ok(sim_set_iommufd_error(k, 0));

        /* Without memory for the questions there is no answer to judge. */
        assert_ok(sim_inject_fault(k, "ioas_alloc", 1, ENOMEM));
        assert_error(kernel_probe(k, &a, NULL, &p), ENOMEM);
        assert_nothing_left(k);
}

/* Whatever fails on the way: nothing is left, and nothing is claimed that was not seen. */
static void faults_while_probing(void **state) {
        static const int errors[] = { ENOMEM, EBUSY, EIO, EINTR, ENODEV, EPERM, ENOSPC };
        _cleanup_(kernel_freep) Kernel *k = host_new("small");
        PciAddress a = address("0000:41:00.0");
        char reason[KERNEL_LEVEL_REASON_SIZE];
        uint64_t before, after;
        KernelProbe p;

        (void)state;
        assert_ok(sim_count_calls(k, NULL, &before));
        assert_ok(kernel_probe(k, &a, NULL, &p));
        assert_ok(sim_count_calls(k, NULL, &after));
        for (uint64_t nth = 1; nth <= after - before; nth++)
                for_each_case(error, errors) {
                        int r;

                        assert_ok(sim_inject_fault(k, NULL, nth, *error));
                        r = kernel_probe(k, &a, NULL, &p);
                        assert_true(r == 0 || r == -*error);
                        assert_ok(sim_clear_faults(k));
                        if (r == 0) { /* never a wrong level */
                                KernelLevel level = kernel_level_decide(&iommu, &p, reason);

                                if (level != KERNEL_LEVEL_ACCELERATED &&
                                    level != KERNEL_LEVEL_PLUMBING && level != KERNEL_LEVEL_UNKNOWN)
                                        fail_msg("%s: %s", strerror(*error), reason);
                        }
                        assert_nothing_left(k);
                }
        assert_int_equal(probe(k, "0000:41:00.0", NULL), KERNEL_LEVEL_ACCELERATED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names),
                cmocka_unit_test(from_scan),
                cmocka_unit_test(from_probe),
                cmocka_unit_test(each_level_is_told),
                cmocka_unit_test(a_full_host_tells_nothing),
                cmocka_unit_test(what_cannot_be_bound_tells_nothing),
                cmocka_unit_test(faults_while_probing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
