/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The manager and its host: functions that come and go, also those of VMs; kernel levels found out on demand; prepared
 * contexts; reservations; configuration read again.
 */

#include "fixture.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "oom.h"

#define HW     TIER_HARDWARE, HANDOVER_DAEMON
#define EMU    TIER_EMULATED, HANDOVER_VMM
#define NONE   TIER_VIRTIO, HANDOVER_NONE
#define LEGACY TIER_VIRTIO, HANDOVER_NONE
#define TTL    UINT64_C(60000000)

static const PciFunctionInfo *function(const Fixture *f, const char *a) {
        PciAddress where = address(a);

        return inventory_find_function(f->manager->inventory, &where);
}

static KernelLevel level(const Fixture *f, uint32_t iommu) {
        return inventory_find_iommu(f->manager->inventory, iommu)->level;
}

/* Runs the loop until the host has been looked at again. */
static void wait_for_rescan(Fixture *f, unsigned n_host) {
        for (unsigned i = 0; i < 500 && f->n_host <= n_host; i++)
                fx_run_for(f, 10000);
        assert_true(f->n_host > n_host);
}

/* ---- functions come and go ---- */

static void plugged_and_unplugged(void **state) {
        const PciFunctionInfo new = { .address = address("0000:30:00.0"),
                                      .host_iommu = 0,
                                      .group = KERNEL_NONE,
                                      .numa_node = 0,
                                      .driver = "vfio-pci",
                                      .vendor_id = 0x15b3,
                                      .device_id = 0x101d,
                                      .class_code = 0x020000 };
        unsigned before;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_null(function(&f, "0000:30:00.0"));
        before = f.n_host;
        assert_ok(sim_plug(f.kernel, &new));
        wait_for_rescan(&f, before);
        assert_non_null(function(&f, "0000:30:00.0"));
        assert_ok(fx_create(&f, "vm", HW, FNS("0000:30:00.0")));
        assert_ok(fx_destroy(&f, "vm", false));

        before = f.n_host;
        assert_ok(sim_unplug(f.kernel, &new.address));
        wait_for_rescan(&f, before);
        assert_null(function(&f, "0000:30:00.0"));
        assert_error(fx_create(&f, "vm", HW, FNS("0000:30:00.0")), ENODEV);
        fx_assert_clean(&f);
        fx_done(&f);
}

/* A look that fails is made again, though the host says nothing more. */
static void plugged_in_trouble(void **state) {
        const PciFunctionInfo new = { .address = address("0000:30:00.0"),
                                      .host_iommu = 0,
                                      .group = KERNEL_NONE,
                                      .numa_node = 0,
                                      .driver = "vfio-pci" };
        unsigned before;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        before = f.n_host;
        assert_ok(sim_inject_fault(f.kernel, "scan", 1, EIO));
        assert_ok(sim_plug(f.kernel, &new));
        wait_for_rescan(&f, before);
        assert_non_null(function(&f, "0000:30:00.0"));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* A request looks for itself: what was bound a moment ago can be had. */
static void bound_a_moment_ago(void **state) {
        PciAddress a = address(FN_HOST);
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_error(fx_create(&f, "vm", HW, FNS(FN_HOST)), ENXIO);
        assert_ok(sim_set_driver(f.kernel, &a, "vfio-pci"));
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_HOST)));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_done(&f);
}

/* Unplugged while the daemon holds it: it lets go, and the host gets it back. */
static void wanted_back_from_a_vm(void **state) {
        PciAddress a = address(FN_A), b = address(FN_B);
        unsigned before;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_B)));
        before = f.n_host;
        assert_ok(sim_unplug(f.kernel, &a));
        for (unsigned i = 0; i < 500 && context_find_function(&fx_vm(&f, "vm")->context, &a); i++)
                fx_run_for(&f, 10000);
        assert_null(context_find_function(&fx_vm(&f, "vm")->context, &a));
        wait_for_rescan(&f, before);
        assert_null(function(&f, FN_A));
        assert_non_null(context_find_function(&fx_vm(&f, "vm")->context, &b));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);

        /* The same for a driver that is taken off. */
        assert_ok(sim_set_driver(f.kernel, &b, "nvme"));
        for (unsigned i = 0; i < 500 && fx_vm(&f, "vm")->context.n_functions > 0; i++)
                fx_run_for(&f, 10000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 0);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 0);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* What the VMM binds is its own to let go of; the daemon says that it has gone. */
static void gone_from_under_a_vm(void **state) {
        PciAddress a = address(FN_A);
        unsigned before, changed;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", EMU, FNS(FN_A)));
        before = f.n_host;
        changed = f.n_changed;
        assert_ok(sim_unplug(f.kernel, &a));
        wait_for_rescan(&f, before);
        assert_null(function(&f, FN_A));
        assert_true(f.n_changed > changed);
        assert_int_equal(fx_state(&f, "vm"), VM_REALIZED);
        assert_ok(fx_detach(&f, "vm", FN_A));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void many_changes_one_scan(void **state) {
        uint64_t scans, after;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(sim_count_calls(f.kernel, "scan", &scans));
        for (unsigned i = 0; i < 20; i++) {
                PciAddress a = address(FN_B);

                assert_ok(sim_set_driver(f.kernel, &a, i % 2 ? "vfio-pci" : "nvme"));
        }
        fx_run_for(&f, 400000);
        assert_ok(sim_count_calls(f.kernel, "scan", &after));
        assert_in_range(after - scans, 1, 3);
        fx_done(&f);
}

/* Events while the host is being looked at are not lost. */
static void changes_during_a_scan(void **state) {
        PciAddress a = address(FN_A), b = address(FN_B);
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_gate_set(&f, ">scan", 1); /* it has seen b */
        assert_ok(sim_unplug(f.kernel, &a));
        assert_true(fx_gate_reached(&f, NULL));
        fx_run_for(&f, 20000);
        assert_ok(sim_unplug(f.kernel, &b));
        fx_run_for(&f, 50000);
        fx_gate_open(&f);
        for (unsigned i = 0; i < 500 && (function(&f, FN_A) || function(&f, FN_B)); i++)
                fx_run_for(&f, 10000);
        assert_null(function(&f, FN_A));
        assert_null(function(&f, FN_B));
        fx_done(&f);
}

static void a_scan_fails(void **state) {
        PciAddress a = address(FN_A);
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(sim_inject_fault(f.kernel, "scan", 1, EIO));
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A)), EIO);
        assert_ok(sim_inject_fault(f.kernel, "scan", 1, EIO));
        assert_ok(sim_unplug(f.kernel, &a));
        fx_run_for(&f, 300000);
        assert_non_null(function(&f, FN_A)); /* not known yet, and nothing else is lost */
        assert_ok(sim_clear_faults(f.kernel));
        a = address(FN_B);
        assert_ok(sim_unplug(f.kernel, &a));
        for (unsigned i = 0; i < 500 && function(&f, FN_A); i++)
                fx_run_for(&f, 10000);
        assert_null(function(&f, FN_A));
        fx_done(&f);
}

/* ---- levels ---- */

static void probed_on_demand(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        for (uint32_t i = 0; i < 8; i++)
                assert_int_equal(level(&f, i), KERNEL_LEVEL_UNKNOWN);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_C)));
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_ACCELERATED);
        assert_int_equal(level(&f, 1), KERNEL_LEVEL_ACCELERATED);
        assert_int_equal(level(&f, 2), KERNEL_LEVEL_UNKNOWN); /* nobody wanted to know */
        assert_ok(fx_attach(&f, "vm", FNS(FN_D)));
        assert_int_equal(level(&f, 2), KERNEL_LEVEL_ACCELERATED);
        assert_ok(fx_create(&f, "other", EMU, FNS("0002:01:00.0")));
        assert_int_equal(level(&f, 4), KERNEL_LEVEL_UNKNOWN);
        assert_ok(fx_probe(&f, 4)); /* with another one that is idle */
        assert_int_equal(level(&f, 4), KERNEL_LEVEL_ACCELERATED);
        assert_error(fx_probe(&f, 99), ENODEV);
        assert_problem(&f.problem, PROBLEM_NO_HOST_IOMMU, "no such host IOMMU");
        fx_done(&f);
}

static void levels_of_profiles(void **state) {
        static const struct {
                const char *profile;
                KernelLevel level;
                int error; /* of a hardware VM */
                ProblemKind kind;
        } cases[] = {
                { "small", KERNEL_LEVEL_ACCELERATED, 0, PROBLEM_NONE },
                { "plumbing", KERNEL_LEVEL_PLUMBING, EOPNOTSUPP, PROBLEM_TIER_UNAVAILABLE },
                { "stock", KERNEL_LEVEL_NESTING, EOPNOTSUPP, PROBLEM_TIER_UNAVAILABLE },
                { "intel", KERNEL_LEVEL_NONE, EOPNOTSUPP, PROBLEM_TIER_UNAVAILABLE },
                { "no-iommufd", KERNEL_LEVEL_NONE, EOPNOTSUPP, PROBLEM_TIER_UNAVAILABLE },
                { "no-functions", KERNEL_LEVEL_UNKNOWN, ENXIO, PROBLEM_FUNCTION_NOT_BOUND },
        };

        (void)state;
        for_each_case(c, cases) {
                Fixture f;

                fx_init(&f, c->profile, NULL);
                assert_ok(fx_probe(&f, 0));
                if (level(&f, 0) != c->level)
                        fail_msg("%s: %s", c->profile, kernel_level_to_string(level(&f, 0)));
                assert_int_equal(fx_create(&f, "vm", HW, FNS("0000:41:00.0")), -c->error);
                if (c->error)
                        assert_problem(&f.problem, c->kind, "");
                else
                        assert_ok(fx_destroy(&f, "vm", false));
                fx_assert_clean(&f);
                fx_done(&f);
        }
}

static void plumbing_is_allowed(void **state) {
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.allow_plumbing = true;
        fx_init(&f, "plumbing", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS("0000:41:00.0")));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_done(&f);
}

/* Nothing is reset that somebody has. */
static void nothing_idle_to_probe_with(void **state) {
        uint64_t before, after;
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        assert_ok(fx_create(&f, "vm", EMU,
                            FNS("0000:41:00.0", "0000:42:00.0", "0000:43:00.0", "0000:43:00.1",
                                "0000:45:00.0")));
        assert_ok(sim_count_calls(f.kernel, "cdev_bind", &before));
        assert_ok(fx_probe(&f, 0));
        assert_ok(sim_count_calls(f.kernel, "cdev_bind", &after));
        assert_int_equal(before, after);
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_UNKNOWN);
        assert_contains(inventory_find_iommu(f.manager->inventory, 0)->level_reason,
                        "no idle function");
        /* One of a group with a held one is not idle either. */
        assert_ok(fx_detach(&f, "vm", "0000:43:00.0"));
        assert_ok(fx_probe(&f, 0));
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_UNKNOWN);
        assert_ok(fx_detach(&f, "vm", "0000:43:00.1"));
        assert_ok(fx_probe(&f, 0));
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_ACCELERATED);
        fx_done(&f);
}

/* A PF is not reset under its VFs, whoever has them. */
static void vfs_are_not_reset(void **state) {
        const char *others[64] = {};
        uint64_t before, after;
        const HostScan *scan;
        size_t n = 0;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        scan = inventory_get_scan(f.manager->inventory);
        for (size_t i = 0; i < scan->n_functions; i++) {
                const PciFunctionInfo *fn = scan->functions + i;
                PciAddress pf = address("0000:51:00.0");

                if (fn->host_iommu != 1 || !pci_function_is_on_vfio(fn) ||
                    pci_address_equal(&fn->address, &pf))
                        continue;
                others[n] = strdup(PCI_ADDRESS_STRING(&fn->address));
                assert_non_null(others[n++]);
                assert_true(n < ELEMENTSOF(others));
        }
        assert_ok(fx_create(&f, "vm", NONE, others));
        assert_ok(sim_count_calls(f.kernel, "cdev_open", &before));
        assert_ok(fx_probe(&f, 1));
        assert_ok(sim_count_calls(f.kernel, "cdev_open", &after));
        assert_int_equal(before, after);
        assert_int_equal(level(&f, 1), KERNEL_LEVEL_UNKNOWN);

        /* Nor for a VM that asks for it, to which nothing is given then. */
        assert_error(fx_create(&f, "pf", HW, FNS("0000:51:00.0")), EBUSY);
        assert_problem(&f.problem, PROBLEM_FUNCTION_IN_USE,
                       "0000:51:00.0 is the PF of 0000:51:00.1, which belongs to VM vm");
        assert_ok(sim_count_calls(f.kernel, "cdev_open", &after));
        assert_int_equal(before, after);

        assert_ok(fx_destroy(&f, "vm", false));
        assert_ok(fx_create(&f, "pf", HW, FNS("0000:51:00.0")));
        while (n > 0)
                free((char *)others[--n]);
        fx_done(&f);
}

/* One that cannot be bound, for reasons the daemon does not see, does not stand in the way of the others. */
static void probed_with_the_next(void **state) {
        SimCounters c;
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        for (unsigned i = 1; i <= 3; i++)
                assert_ok(sim_inject_fault(f.kernel, "cdev_bind", i, EINVAL));
        assert_ok(fx_probe(&f, 0));
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_ACCELERATED);
        sim_get_counters(f.kernel, &c);
        assert_int_equal(c.open_cdevs, 0);
        fx_assert_clean(&f);
        fx_done(&f);

        /* When none can be, it says why. */
        fx_init(&f, "small", NULL);
        for (unsigned i = 1; i <= 16; i++)
                assert_ok(sim_inject_fault(f.kernel, "cdev_bind", i, EINVAL));
        assert_ok(fx_probe(&f, 0));
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_UNKNOWN);
        assert_contains(inventory_find_iommu(f.manager->inventory, 0)->level_reason,
                        "could not bind");
        assert_ok(sim_clear_faults(f.kernel));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* While the daemon probes with a function nobody else gets it. */
static void taken_while_it_is_probed_with(void **state) {
        Answer probe = {};
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        fx_gate_set(&f, "hwpt_alloc_nest_parent", 1);
        assert_ok(manager_probe(f.manager, 0, answer_store, &probe, NULL));
        assert_true(fx_gate_reached(&f, &probe));
        assert_error(fx_create(&f, "vm", EMU, FNS("0000:41:00.0")), EBUSY);
        assert_problem(&f.problem, PROBLEM_FUNCTION_IN_USE, "prob");
        fx_gate_open(&f);
        fx_run_until(&f, &probe.given);
        assert_ok(probe.r);
        assert_ok(fx_create(&f, "vm", EMU, FNS("0000:41:00.0")));
        fx_done(&f);
}

static void probed_without_memory(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "small", NULL);
        OOM_SWEEP(nth, {
                int r = fx_probe(&f, 0);

                assert_true(r == 0 || r == -ENOMEM);
                assert_null(f.manager->claims);
        });
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_ACCELERATED);

        /* A probe that learns nothing does not unlearn what is known. */
        assert_ok(sim_inject_fault(f.kernel, "cdev_bind", 1, EBUSY));
        assert_ok(fx_probe(&f, 0));
        assert_int_equal(level(&f, 0), KERNEL_LEVEL_ACCELERATED);
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- prepared contexts ---- */

static void prepared_and_used(void **state) {
        SimCounters c;
        int iommufd;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_error(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd), ENOENT);
        assert_ok(fx_prepare(&f, "vm", ":1.1"));
        assert_ok(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd));
        assert_ok(fx_create(&f, "vm", EMU, FNS(FN_A)));
        assert_int_equal(fx_vm(&f, "vm")->context.iommufd, iommufd); /* that very one */
        assert_true(fx_vm(&f, "vm")->context.shared);
        assert_error(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd), ENOENT);
        assert_error(fx_prepare(&f, "vm", ":1.1"), EEXIST);
        assert_problem(&f.problem, PROBLEM_VM_EXISTS, "OpenContext");
        manager_name_vanished(f.manager, ":1.1"); /* it is the VM's now */
        sim_get_counters(f.kernel, &c);
        assert_int_equal(c.contexts, 1);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* It waits for a VM that wants one: the daemon's own handover makes its own. */
static void prepared_for_nothing(void **state) {
        SimCounters c;
        int iommufd;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_prepare(&f, "vm", ":1.1"));
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd));
        assert_int_not_equal(fx_vm(&f, "vm")->context.iommufd, iommufd);
        assert_ok(fx_destroy(&f, "vm", false));
        manager_name_vanished(f.manager, ":1.1");
        assert_error(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd), ENOENT);
        sim_get_counters(f.kernel, &c);
        assert_true(sim_counters_are_zero(&c));
        fx_done(&f);
}

/* A VMM that opens everything itself may have been given it: it is not for another. */
static void prepared_and_none(void **state) {
        SimCounters c;
        int iommufd;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_prepare(&f, "vm", ":1.1"));
        assert_ok(fx_prepare(&f, "other", ":1.1"));
        assert_ok(fx_create(&f, "vm", NONE, FNS(FN_A)));
        assert_error(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd), ENOENT);
        assert_ok(manager_get_prepared(f.manager, fx_uuid("other"), &iommufd));
        assert_int_equal(f.manager->n_prepared, 1);
        sim_get_counters(f.kernel, &c);
        assert_int_equal(c.contexts, 1);
        assert_ok(fx_destroy(&f, "vm", false));
        manager_name_vanished(f.manager, ":1.1");
        sim_get_counters(f.kernel, &c);
        assert_true(sim_counters_are_zero(&c));
        fx_done(&f);
}

static void prepared_again(void **state) {
        Answer first = {}, second = {}, third = {};
        int iommufd;
        SimCounters c;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_gate_set(&f, "iommufd_open", 1);
        assert_ok(manager_prepare_context(f.manager, fx_uuid("vm"), ":1.1", 0, answer_store, &first,
                                          NULL));
        assert_true(fx_gate_reached(&f, &first));
        assert_error(manager_prepare_context(f.manager, fx_uuid("vm"), ":1.1", 0, answer_store,
                                             &second, &second.problem),
                     EBUSY);
        assert_problem(&second.problem, PROBLEM_BUSY, "is being made");
        assert_false(second.given);
        assert_ok(manager_prepare_context(f.manager, fx_uuid("other"), ":1.2", 0, answer_store,
                                          &third, NULL));
        fx_run_until(&f, &third.given);
        fx_gate_open(&f);
        fx_run_until(&f, &first.given);
        assert_ok(first.r);
        assert_ok(third.r);
        assert_ok(manager_get_prepared(f.manager, fx_uuid("vm"), &iommufd));
        assert_int_equal(f.manager->n_prepared, 2);

        assert_ok(fx_prepare(&f, "vm", ":1.1")); /* another takes its place */
        assert_int_equal(f.manager->n_prepared, 2);
        sim_get_counters(f.kernel, &c);
        assert_int_equal(c.contexts, 2);
        manager_name_vanished(f.manager, ":1.1");
        assert_int_equal(f.manager->n_prepared, 1);
        fx_done(&f);
}

static void preparing_is_refused(void **state) {
        Answer answer = {};
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.max_prepared_contexts = 1;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(sim_inject_fault(f.kernel, "iommufd_open", 1, EMFILE));
        assert_error(fx_prepare(&f, "vm", ":1.1"), EMFILE);
        assert_problem(&f.problem, PROBLEM_KERNEL, "Too many open files");
        assert_ok(sim_inject_fault(f.kernel, "iommufd_account_process", 1, EPERM));
        assert_error(fx_prepare(&f, "vm", ":1.1"), EPERM);
        assert_int_equal(f.manager->n_prepared, 0);
        fx_assert_clean(&f);

        assert_ok(fx_prepare(&f, "vm", ":1.1"));
        assert_error(fx_prepare(&f, "other", ":1.1"), EDQUOT);
        assert_problem(&f.problem, PROBLEM_LIMITS_EXCEEDED, "MaxPreparedContexts= allows 1");
        assert_ok(fx_prepare(&f, "vm", ":1.1"));

        /* Its caller leaves while it is made. */
        fx_gate_set(&f, "iommufd_open", 1);
        assert_ok(manager_prepare_context(f.manager, fx_uuid("vm"), ":1.3", 0, answer_store,
                                          &answer, NULL));
        assert_true(fx_gate_reached(&f, &answer));
        manager_name_vanished(f.manager, ":1.3");
        fx_gate_open(&f);
        fx_run_until(&f, &answer.given);
        assert_error(answer.r, ECANCELED);
        assert_int_equal(f.manager->n_prepared, 1); /* the one before is still there */
        /* Who had the one before leaves while it is made: that is not its caller. */
        answer = (Answer){};
        fx_gate_set(&f, "iommufd_open", 1);
        assert_ok(manager_prepare_context(f.manager, fx_uuid("vm"), ":1.4", 0, answer_store,
                                          &answer, NULL));
        assert_true(fx_gate_reached(&f, &answer));
        manager_name_vanished(f.manager, ":1.1");
        fx_gate_open(&f);
        fx_run_until(&f, &answer.given);
        assert_ok(answer.r);
        assert_int_equal(f.manager->n_prepared, 1);
        manager_name_vanished(f.manager, ":1.4");
        fx_assert_clean(&f);
        fx_done(&f);
}

static void preparing_without_memory(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        OOM_SWEEP(nth, {
                int r = fx_prepare(&f, "vm", ":1.1");

                assert_true(r == 0 || r == -ENOMEM);
        });
        manager_name_vanished(f.manager, ":1.1");
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- reservations ---- */

static int reserve(Fixture *f, VmTier tier, VmHandover handover, const char *const *functions,
                   uint64_t ttl, uid_t uid, char *token) {
        VmRequest request;
        int r;

        fx_request(&request, "reserved", tier, handover, functions);
        free(TAKE_PTR(request.name));
        f->problem = (Problem){};
        r = manager_reserve(f->manager, &request, ttl, uid, token, &f->problem);
        vm_request_done(&request);
        return r;
}

/* A VM that uses @token, as user @uid. */
static int create_with(Fixture *f, const char *name, const char *token, uid_t uid,
                       const char *const *functions) {
        Answer answer = {};
        VmRequest request;
        int r;

        fx_request(&request, name, HW, functions);
        request.reservation = strdup(token);
        r = manager_create_vm(f->manager, &request, uid, NULL, answer_store, &answer, &f->problem);
        vm_request_done(&request);
        if (r < 0)
                return r;
        fx_run_until(f, &answer.given);
        f->problem = answer.problem;
        return answer.r;
}

static void probe_all(Fixture *f) {
        for (uint32_t i = 0; i < 8; i++)
                assert_ok(fx_probe(f, i));
}

static void reserved_and_used(void **state) {
        char token[RESERVATION_TOKEN_SIZE];
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.instances_per_iommu = 1;
        fx_init(&f, "epyc-2p", &config);
        probe_all(&f);
        assert_ok(reserve(&f, HW, FNS(FN_A, FN_C), TTL, 7, token));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);

        /* Others get neither its functions nor its place. */
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A)), EBUSY);
        assert_problem(&f.problem, PROBLEM_FUNCTION_IN_USE, "reserv");
        assert_error(fx_create(&f, "vm", HW, FNS(FN_B)), EDQUOT);
        assert_error(create_with(&f, "vm", token, 8, FNS(FN_A)), EPERM);
        assert_problem(&f.problem, PROBLEM_NOT_YOUR_RESERVATION, "uid 7's, and uid 8");
        assert_error(create_with(&f, "vm", "nonsense", 7, FNS(FN_A)), ENOENT);

        /* A refusal leaves it as it was. */
        assert_error(create_with(&f, "vm", token, 7, FNS(FN_HOST)), ENXIO);
        assert_ok(sim_inject_fault(f.kernel, "viommu_alloc", 1, EIO));
        assert_error(create_with(&f, "vm", token, 7, FNS(FN_A)), EIO);
        fx_run_until_gone(&f, "vm");
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A)), EBUSY);

        /* It is used once, and what is not used of it is free. */
        assert_ok(create_with(&f, "vm", token, 7, FNS(FN_A)));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_error(create_with(&f, "other", token, 7, FNS(FN_C)), ESTALE);
        assert_problem(&f.problem, PROBLEM_RESERVATION_USED, "good for one VM");
        assert_error(create_with(&f, "other", token, 8, FNS(FN_C)), EPERM);
        assert_ok(fx_create(&f, "other", HW, FNS(FN_C)));
        assert_ok(fx_destroy(&f, "vm", false));
        assert_ok(fx_destroy(&f, "other", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* What the kernel can do is not known any more, as after a restart: the functions that are reserved tell. */
static void reserved_and_probed(void **state) {
        char token[RESERVATION_TOKEN_SIZE];
        Answer answer = {};
        VmRequest request;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        probe_all(&f);
        assert_ok(reserve(&f, HW, FNS(FN_A, FN_C), TTL, 7, token));
        for (uint32_t i = 0; i < 2; i++)
                inventory_set_level(f.manager->inventory, i, KERNEL_LEVEL_UNKNOWN, "");
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A)), EBUSY);
        assert_error(create_with(&f, "vm", token, 8, FNS(FN_A)), EPERM);
        assert_ok(sim_inject_fault(f.kernel, "cdev_bind", 1, EIO));
        assert_error(create_with(&f, "vm", token, 7, FNS(FN_A)), EIO);
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A)), EBUSY);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 0), 1);

        /* It is given back while they are asked. */
        fx_gate_set(&f, "cdev_bind", 1);
        fx_request(&request, "vm", HW, FNS(FN_A));
        request.reservation = strdup(token);
        assert_ok(manager_create_vm(f.manager, &request, 7, NULL, answer_store, &answer, NULL));
        vm_request_done(&request);
        assert_true(fx_gate_reached(&f, &answer));
        assert_ok(manager_unreserve(f.manager, token, 7, NULL));
        fx_gate_open(&f);
        fx_run_until(&f, &answer.given);
        assert_error(answer.r, ENOENT);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_destroy(&f, "vm", false));

        assert_ok(reserve(&f, HW, FNS(FN_A), TTL, 7, token));
        inventory_set_level(f.manager->inventory, 0, KERNEL_LEVEL_UNKNOWN, "");
        assert_ok(create_with(&f, "vm", token, 7, FNS(FN_A)));
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

static void reserved_and_given_back(void **state) {
        char token[RESERVATION_TOKEN_SIZE];
        Problem p = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        probe_all(&f);
        assert_ok(reserve(&f, HW, FNS(FN_A), TTL, 7, token));
        assert_int_equal(manager_get_reservation_owner(f.manager, token), 7);
        assert_ok(manager_unreserve(f.manager, token, 7, &p));
        assert_error(manager_unreserve(f.manager, token, 7, &p), ENOENT);
        assert_problem(&p, PROBLEM_NO_SUCH_RESERVATION, "given back");
        for (unsigned i = 0; i < ENDED_RESERVATIONS_MAX; i++) {
                char later[RESERVATION_TOKEN_SIZE];

                assert_problem(&p, PROBLEM_NO_SUCH_RESERVATION, "given back");
                assert_ok(reserve(&f, EMU, FNS(FN_A), TTL, 8, later));
                assert_ok(manager_unreserve(f.manager, later, 8, &p));
                p = (Problem){};
                (void)manager_unreserve(f.manager, token, 7, &p);
        }
        assert_problem(&p, PROBLEM_NO_SUCH_RESERVATION, "any more"); /* forgotten for others */
        assert_ok(reserve(&f, HW, FNS(FN_A), TTL, 7, token));
        assert_ok(manager_unreserve(f.manager, token, 7, &p));
        assert_error(manager_unreserve(f.manager, token, 8, &p), EPERM);
        assert_true(manager_get_reservation_owner(f.manager, token) == (uid_t)-1);
        fx_assert_clean(&f);

        assert_ok(reserve(&f, EMU, FNS(FN_A), UINT64_C(1000000), 7, token));
        fx_run_for(&f, 1200000);
        fx_assert_clean(&f); /* it has expired */
        assert_error(create_with(&f, "vm", token, 7, FNS(FN_A)), ETIME);
        assert_problem(&f.problem, PROBLEM_RESERVATION_EXPIRED, "free for others");
        assert_ok(reserve(&f, EMU, FNS(FN_A), TTL, 7, token));
        fx_done(&f); /* with one left */
}

/* It expires while a CreateVm uses it: that goes on; if it fails, nothing is left of the reservation. */
static void expires_while_it_is_used(void **state) {
        char token[RESERVATION_TOKEN_SIZE];
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        probe_all(&f);
        for (unsigned fails = 0; fails < 2; fails++) {
                Answer answer = {};
                VmRequest request;

                assert_ok(reserve(&f, HW, FNS(FN_A), UINT64_C(1000000), 7, token));
                fx_request(&request, "vm", HW, FNS(FN_A));
                request.reservation = strdup(token);
                if (fails)
                        assert_ok(sim_inject_fault(f.kernel, "vdevice_alloc", 1, EIO));
                fx_gate_set(&f, "viommu_alloc", 1);
                assert_ok(manager_create_vm(f.manager, &request, 7, NULL, answer_store, &answer,
                                            NULL));
                assert_true(fx_gate_reached(&f, &answer));
                assert_error(manager_unreserve(f.manager, token, 7, NULL), EBUSY);
                fx_run_for(&f, 1200000);
                fx_gate_open(&f);
                fx_run_until(&f, &answer.given);
                assert_int_equal(answer.r, fails ? -EIO : 0);
                if (!fails)
                        assert_ok(fx_destroy(&f, "vm", false));
                fx_run_until_gone(&f, "vm");
                fx_assert_clean(&f);
        }
        fx_done(&f);
}

static void reserving_is_refused(void **state) {
        char token[RESERVATION_TOKEN_SIZE];
        VmRequest request;
        Problem p = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        probe_all(&f);
        assert_error(reserve(&f, HW, FNS(FN_A), 999999, 7, token), EINVAL);
        assert_error(reserve(&f, HW, FNS(FN_A), UINT64_C(86400000001), 7, token), EINVAL);
        assert_problem(&f.problem, PROBLEM_INVALID_ARGUMENT, "one second to one day");
        assert_error(reserve(&f, HW, FNS(FN_HOST), TTL, 7, token), ENXIO);
        assert_error(reserve(&f, HW, FNS(FN_A, FN_A), TTL, 7, token), EINVAL);
        fx_request(&request, "named", HW, FNS(FN_A));
        assert_error(manager_reserve(f.manager, &request, TTL, 7, token, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, "nothing else");
        vm_request_done(&request);
        fx_assert_clean(&f);
        for (uint64_t nth = 1, failed = 1; failed; nth++) {
                int r;

                fx_request(&request, "reserved", HW, FNS(FN_A, FN_C));
                free(TAKE_PTR(request.name));
                oom_arm(nth, 1); /* the request itself is to be had */
                r = manager_reserve(f.manager, &request, TTL, 7, token, NULL);
                failed = oom_disarm();
                if (r < 0) {
                        assert_error(r, ENOMEM);
                        fx_assert_clean(&f);
                }
                vm_request_done(&request);
        }
        assert_ok(manager_unreserve(f.manager, token, 7, NULL));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- the configuration read again ---- */

static void reloaded(void **state) {
        char path[] = "/tmp/test-manager-host-XXXXXX";
        int fd = mkstemp(path);
        Problem p = {};
        Fixture f;

        (void)state;
        assert_true(fd >= 0);
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(manager_reload(f.manager, &p)); /* without a file: the defaults */
        f.manager->config_file = strdup(path);
        assert_int_equal(dprintf(fd, "[Manager]\nInstancesPerIommu=1\n"), 30);
        assert_ok(manager_reload(f.manager, &p));
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_error(fx_create(&f, "other", HW, FNS(FN_B)), EDQUOT);

        assert_int_equal(dprintf(fd, "Nonsense=1\n"), 11);
        assert_error(manager_reload(f.manager, &p), EINVAL);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, ":3: Unknown key");
        assert_int_equal(f.manager->config.instances_per_iommu, 1); /* the old one stays */

        assert_ok(unlink(path)); /* no file is no mistake */
        assert_ok(manager_reload(f.manager, &p));
        assert_ok(fx_create(&f, "other", HW, FNS(FN_B)));
        fd_close(fd);
        fx_done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plugged_and_unplugged),
                cmocka_unit_test(plugged_in_trouble),
                cmocka_unit_test(bound_a_moment_ago),
                cmocka_unit_test(wanted_back_from_a_vm),
                cmocka_unit_test(gone_from_under_a_vm),
                cmocka_unit_test(many_changes_one_scan),
                cmocka_unit_test(changes_during_a_scan),
                cmocka_unit_test(a_scan_fails),
                cmocka_unit_test(probed_on_demand),
                cmocka_unit_test(levels_of_profiles),
                cmocka_unit_test(plumbing_is_allowed),
                cmocka_unit_test(nothing_idle_to_probe_with),
                cmocka_unit_test(vfs_are_not_reset),
                cmocka_unit_test(probed_with_the_next),
                cmocka_unit_test(taken_while_it_is_probed_with),
                cmocka_unit_test(probed_without_memory),
                cmocka_unit_test(prepared_and_used),
                cmocka_unit_test(prepared_for_nothing),
                cmocka_unit_test(prepared_and_none),
                cmocka_unit_test(prepared_again),
                cmocka_unit_test(preparing_is_refused),
                cmocka_unit_test(preparing_without_memory),
                cmocka_unit_test(reserved_and_used),
                cmocka_unit_test(reserved_and_probed),
                cmocka_unit_test(reserved_and_given_back),
                cmocka_unit_test(expires_while_it_is_used),
                cmocka_unit_test(reserving_is_refused),
                cmocka_unit_test(reloaded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
