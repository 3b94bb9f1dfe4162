/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the manager asks about again from time to time: functions that a VMM kept, VMs that could not be taken down. */

#include "core/manager-private.h"
#include "fixture.h"

#include "oom.h"

#define HW TIER_HARDWARE, HANDOVER_DAEMON

/* A VM that has been handed over; @theirs: what its VMM holds of its two functions. */
static pid_t handed_over(Fixture *f, const char *name, const char *const *functions, int *theirs,
                         int *ret_pidfd) {
        pid_t vmm = child_new(ret_pidfd);

        assert_ok(fx_create(f, name, HW, functions));
        assert_ok(fx_leash(f, name, *ret_pidfd));
        assert_ok(fx_open(f, name, NULL));
        for (unsigned i = 0; i < fx_vm(f, name)->context.n_functions; i++)
                theirs[i] = dup(fx_vm(f, name)->context.functions[i].cdev);
        assert_ok(fx_confirm(f, name));
        return vmm;
}

/* Both are asked about, not only the first; and meanwhile the VM can be used. */
static void kept_functions(void **state) {
        int theirs[2], pidfd;
        Fixture f;
        pid_t vmm;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        vmm = handed_over(&f, "vm", FNS(FN_A, FN_C), theirs, &pidfd);
        assert_error(fx_detach(&f, "vm", FN_A), EBUSY);
        assert_error(fx_detach(&f, "vm", FN_C), EBUSY);

        fd_close(theirs[1]); /* the second lets go, and nobody tells the daemon */
        for (unsigned i = 0; i < 100 && fx_vm(&f, "vm")->context.n_functions > 1; i++) {
                fx_run_for(&f, 100000);
                assert_ok(fx_open(&f, "vm", NULL));
        }
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_ok(fx_create(&f, "other", HW, FNS(FN_C)));

        fd_close(theirs[0]);
        for (unsigned i = 0; i < 100 && fx_vm(&f, "vm")->context.n_functions > 0; i++)
                fx_run_for(&f, 100000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 0);
        child_end(vmm);
        fd_close(pidfd);
        fx_run_until_gone(&f, "vm");
        assert_ok(fx_destroy(&f, "other", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* A vIOMMU whose page the VMM keeps mapped when its last function goes is asked about again, but not when it is of use again. */
static void kept_viommu(void **state) {
        volatile void *page;
        uint64_t offset;
        int iommufd;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_C)));
        iommufd = fx_vm(&f, "vm")->context.iommufd;
        offset = context_find_viommu(&fx_vm(&f, "vm")->context, 1)->vfmmio_offset;
        assert_ok(f.kernel->ops->vfmmio_map(f.kernel, iommufd, offset, &page));
        assert_ok(fx_detach(&f, "vm", FN_C));
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);
        assert_ok(fx_attach(&f, "vm", FNS(FN_C)));
        assert_ok(f.kernel->ops->vfmmio_unmap(f.kernel, iommufd, offset, page));
        fx_run_for(&f, 6000000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 2);

        assert_ok(f.kernel->ops->vfmmio_map(f.kernel, iommufd, offset, &page));
        assert_ok(fx_detach(&f, "vm", FN_C));
        assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 2);
        assert_ok(f.kernel->ops->vfmmio_unmap(f.kernel, iommufd, offset, page));
        for (unsigned i = 0; i < 100 && fx_vm(&f, "vm")->context.n_viommus > 1; i++)
                fx_run_for(&f, 100000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* The leash is gone but the objects live: quarantined, charged, visible; and released once they can be. */
static void quarantined(void **state) {
        int theirs[1], iommufd, pidfd;
        unsigned changed;
        Fixture f;
        pid_t vmm;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        vmm = handed_over(&f, "vm", FNS(FN_A), theirs, &pidfd);
        iommufd = dup(fx_vm(&f, "vm")->context.iommufd);
        child_end(vmm);
        fd_close(pidfd);
        for (unsigned i = 0; i < 500 && fx_state(&f, "vm") != VM_QUARANTINED; i++)
                fx_run_for(&f, 10000);
        assert_int_equal(fx_state(&f, "vm"), VM_QUARANTINED);
        assert_contains(fx_vm(&f, "vm")->state_reason, FN_A " is still held");
        assert_true(fx_used(&f, RESOURCE_DOMAIN_IDS, 0) > 0);
        assert_int_equal(f.n_removed, 0);
        assert_error(fx_create(&f, "other", HW, FNS(FN_A)), EBUSY);
        assert_error(fx_attach(&f, "vm", FNS(FN_B)), EBADFD);
        assert_error(fx_leash(&f, "vm", theirs[0]), EBADFD);

        changed = f.n_changed;
        assert_error(fx_destroy(&f, "vm", true),
                     EBUSY); /* an administrator's wish does not help yet */
        assert_true(f.n_changed > changed);
        assert_int_equal(fx_state(&f, "vm"), VM_QUARANTINED);

        fd_close(theirs[0]);
        fd_close(iommufd);
        fx_run_until_gone(&f, "vm"); /* by itself */
        assert_int_equal(f.n_removed, 1);
        fx_assert_clean(&f);
        fx_done(&f);
}

/* An attachment that failed and could not be undone: charged, draining, and gone once it can be. */
static void stuck_attachment(void **state) {
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_probe(&f, 1));
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(sim_inject_fault(f.kernel, "vdevice_alloc", 1, EIO));
        assert_ok(sim_inject_fault(f.kernel, "object_destroy", 1, EBUSY));
        assert_error(fx_attach(&f, "vm", FNS(FN_C)), EIO);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 2);
        assert_true(fx_vm(&f, "vm")->context.functions[1].draining);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);
        assert_error(fx_create(&f, "other", HW, FNS(FN_C)), EBUSY);

        for (unsigned i = 0; i < 100 && fx_vm(&f, "vm")->context.n_functions > 1; i++)
                fx_run_for(&f, 100000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_ok(fx_create(&f, "other", HW, FNS(FN_C)));
        assert_ok(fx_destroy(&f, "vm", false));
        assert_ok(fx_destroy(&f, "other", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* A daemon died while it destroyed a vIOMMU whose page the VMM has mapped: the next one does it when the page has been let go of. */
static void repaired_later(void **state) {
        VmContext *context;
        volatile void *page;
        uint64_t offset;
        int iommufd;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A, FN_C)));
        context = &fx_vm(&f, "vm")->context;
        iommufd = context->iommufd;
        offset = context_find_viommu(context, 1)->vfmmio_offset;
        assert_ok(f.kernel->ops->vfmmio_map(f.kernel, iommufd, offset, &page));
        context_find_viommu(context, 1)->draining = true;
        assert_ok(vm_repair(fx_vm(&f, "vm")));
        fx_run_for(&f, 2000000);
        assert_true(fx_vm(&f, "vm")->unrepaired);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);

        assert_ok(f.kernel->ops->vfmmio_unmap(f.kernel, iommufd, offset, page));
        for (unsigned i = 0; i < 100 && fx_vm(&f, "vm")->unrepaired; i++)
                fx_run_for(&f, 100000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 1);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* The same of an attachment: what it had made cannot go as long as the function is held, and nobody asks for it when that has gone but the
 * daemon. */
static void repaired_behind_a_function(void **state) {
        VmContext *context;
        int theirs[2], pidfd;
        Fixture f;
        pid_t vmm;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        vmm = handed_over(&f, "vm", FNS(FN_A, FN_C), theirs, &pidfd);
        context = &fx_vm(&f, "vm")->context;
        context->functions[1].draining = true;
        context_find_viommu(context, 1)->draining = true;
        assert_ok(sim_inject_fault(f.kernel, "object_destroy", 2, EBUSY));
        assert_ok(vm_repair(fx_vm(&f, "vm")));
        fx_run_for(&f, 1000000);
        assert_true(fx_vm(&f, "vm")->unrepaired);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 2);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 1);

        fd_close(theirs[1]);
        for (unsigned i = 0; i < 100 && fx_used(&f, RESOURCE_INSTANCES, 1) > 0; i++)
                fx_run_for(&f, 100000);
        assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 1);
        assert_int_equal(fx_vm(&f, "vm")->context.n_viommus, 1);
        fx_run_for(&f, 1000000);
        assert_false(fx_vm(&f, "vm")->unrepaired);
        fd_close(theirs[0]);
        child_end(vmm);
        fd_close(pidfd);
        fx_run_until_gone(&f, "vm");
        fx_assert_clean(&f);
        fx_done(&f);
}

/* What failed for want of memory is tried again, and nothing of it counts twice. */
static void repaired_without_memory(void **state) {
        bool failed = true;
        Fixture f;
        Vm *vm;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(fx_map(&f, "vm", 0, RAM_BYTES));
        vm = fx_vm(&f, "vm");
        for (unsigned nth = 1; failed; nth++) {
                assert_ok(fx_map(&f, "vm", RAM_BYTES, RAM_BYTES));
                context_find_mapping(&vm->context, RAM_BYTES, RAM_BYTES)->draining = true;
                oom_arm(nth, 1);
                if (vm_repair(vm) >= 0)
                        while (vm->n_operations > 0)
                                fx_run_for(&f, 1000);
                failed = oom_disarm();
                assert_true(failed || !vm->unrepaired);
                if (vm->context.n_mappings > 1 && !vm->unrepaired)
                        assert_ok(vm_repair(vm)); /* it could not be queued */
                for (unsigned i = 0; i < 1000 && vm->context.n_mappings > 1; i++)
                        fx_run_for(&f, 10000);
                assert_int_equal(vm->context.n_mappings, 1);
                assert_int_equal(vm->context.mapped_bytes, RAM_BYTES);
                assert_int_equal(fx_used(&f, RESOURCE_PINNED_MEMORY, 0), RAM_BYTES);
                assert_int_equal(vm->unrepaired, 0);
        }
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

/* Ended while one is quarantined, or drains: nothing to wait for. */
static void ended_with_leftovers(void **state) {
        int theirs[2], more[1], pidfd, pidfd2;
        pid_t vmm, vmm2;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        vmm = handed_over(&f, "vm", FNS(FN_A, FN_B), theirs, &pidfd);
        vmm2 = handed_over(&f, "other", FNS(FN_C), more, &pidfd2);
        assert_error(fx_detach(&f, "vm", FN_A), EBUSY);
        assert_error(fx_destroy(&f, "other", true), EBUSY);
        assert_int_equal(fx_state(&f, "other"), VM_QUARANTINED);
        fx_done(&f);
        child_end(vmm);
        child_end(vmm2);
        for (unsigned i = 0; i < 2; i++)
                fd_close(theirs[i]);
        fd_close(more[0]);
        fd_close(pidfd);
        fd_close(pidfd2);
}

/* A leash that ends when there is no memory: the VM is not forgotten. */
static void leash_ends_without_memory(void **state) {
        Fixture f;

        (void)state;
        for (unsigned nth = 1; nth < 4; nth++) {
                VmRequest request;

                fx_init(&f, "epyc-2p", NULL);
                fx_request(&request, "vm", HW, FNS(FN_A));
                request.leash = LEASH_CALLER;
                assert_ok(fx_create_request(&f, &request, ":1.1"));
                oom_arm(nth, 1);
                manager_name_vanished(f.manager, ":1.1");
                fx_run_for(&f, 50000);
                (void)oom_disarm();
                fx_run_until_gone(&f, "vm");
                assert_string_equal(f.reason, "caller-gone");
                fx_assert_clean(&f);
                fx_done(&f);
        }
}

/* Who hears that it was not destroyed does not lose it later. */
static void not_destroyed_without_memory(void **state) {
        bool failed = true;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        for (unsigned nth = 1; failed; nth++) {
                const Vm *vm = fx_vm(&f, "vm");

                oom_arm(nth, 1);
                failed = fx_destroy(&f, "vm", true) < 0;
                assert_true(oom_disarm() || !failed);
                if (!failed || vm->state != VM_REALIZED)
                        break; /* past what can be refused */
                fx_run_for(&f, 1200000);
                assert_int_equal(fx_state(&f, "vm"), VM_REALIZED);
        }
        fx_run_until_gone(&f, "vm");
        fx_assert_clean(&f);
        fx_done(&f);
}

/* The host asks once, and whatever is short then, it gets its function. */
static void wanted_back_without_memory(void **state) {
        bool fired = true;

        (void)state;
        for (unsigned n = 1; fired; n++) {
                PciAddress a;
                Fixture f;

                fx_init(&f, "epyc-2p", NULL);
                assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
                a = fx_vm(&f, "vm")->context.functions[0].address;
                oom_arm(n, 1);
                assert_ok(sim_unplug(f.kernel, &a));
                for (unsigned i = 0; i < 500 && fx_vm(&f, "vm")->context.n_functions > 0; i++)
                        fx_run_for(&f, 10000);
                fired = oom_disarm();
                assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 0);
                assert_ok(fx_destroy(&f, "vm", false));
                fx_assert_clean(&f);
                fx_done(&f);
        }
}

static void wanted_back_from_a_busy_vm(void **state) {
        Answer answers[2] = {};
        PciAddress a;
        Config config;
        Fixture f;

        (void)state;
        config_init(&config);
        config.max_operations_per_vm = 1;
        fx_init(&f, "epyc-2p", &config);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        a = fx_vm(&f, "vm")->context.functions[0].address;
        fx_gate_set(&f, "viommu_alloc", 1);
        assert_ok(fx_viommu_destroy(&f, "vm", 0));
        for_each_case(answer, answers) {
                assert_ok(vm_create_viommu(fx_vm(&f, "vm"), 0, NULL, answer_store, answer, NULL));
        }
        assert_true(fx_gate_reached(&f, answers));
        assert_ok(sim_unplug(f.kernel, &a));
        fx_run_for(&f, 20000); /* there is no room for it */
        assert_int_equal(fx_vm(&f, "vm")->n_operations, 2);
        fx_gate_open(&f);
        for (unsigned i = 0; i < 500 && fx_vm(&f, "vm")->context.n_functions > 0; i++)
                fx_run_for(&f, 10000);
        assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 0);
        assert_ok(fx_destroy(&f, "vm", false));
        fx_assert_clean(&f);
        fx_done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(kept_functions),
                cmocka_unit_test(kept_viommu),
                cmocka_unit_test(quarantined),
                cmocka_unit_test(repaired_later),
                cmocka_unit_test(repaired_behind_a_function),
                cmocka_unit_test(repaired_without_memory),
                cmocka_unit_test(stuck_attachment),
                cmocka_unit_test(ended_with_leftovers),
                cmocka_unit_test(leash_ends_without_memory),
                cmocka_unit_test(not_destroyed_without_memory),
                cmocka_unit_test(wanted_back_without_memory),
                cmocka_unit_test(wanted_back_from_a_busy_vm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
