/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests that come to nothing on their way: what had been taken for them is given back, and nobody else is bothered. */

#include "core/manager-private.h"
#include "fixture.h"

#define HW TIER_HARDWARE, HANDOVER_DAEMON

/* The leash ends while another is on its way to the service manager: who has asked for that hears that the VM goes. */
static void leash_ends_before_the_next_is_set(void **state) {
        int pidfd;
        pid_t vmm = child_new(&pidfd);
        Answer answer = {};
        VmRequest request;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        fx_request(&request, "vm", HW, FNS(FN_A));
        request.leash = LEASH_CALLER;
        assert_ok(fx_create_request(&f, &request, ":1.1"));
        assert_ok(vm_set_leash(fx_vm(&f, "vm"), pidfd, ":1.2", answer_store, &answer, NULL));
        assert_false(answer.given);
        manager_name_vanished(f.manager, ":1.1");
        fx_run_until_gone(&f, "vm");
        assert_true(answer.given);
        assert_error(answer.r, ECANCELED);
        assert_problem(&answer.problem, PROBLEM_CANCELLED, "the leash has not been set");
        assert_string_equal(f.reason, "caller-gone");
        fx_assert_clean(&f);
        fx_done(&f);
        child_end(vmm);
        fd_close(pidfd);
}

static void setting_a_leash_is_cancelled(void **state) {
        int pidfd;
        pid_t vmm = child_new(&pidfd);
        Answer answer = {};
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_ok(fx_create(&f, "vm", HW, FNS(FN_A)));
        assert_ok(vm_set_leash(fx_vm(&f, "vm"), pidfd, NULL, answer_store, &answer, NULL));
        assert_ok(vm_cancel(fx_vm(&f, "vm"), NULL));
        fx_run_until(&f, &answer.given);
        assert_error(answer.r, ECANCELED);
        assert_int_equal(fx_state(&f, "vm"), VM_REALIZED);
        assert_int_equal(fx_vm(&f, "vm")->leash.kind, LEASH_NONE);
        assert_ok(fx_leash(&f, "vm", pidfd));
        assert_int_equal(fx_state(&f, "vm"), VM_BOUND);
        child_end(vmm);
        fd_close(pidfd);
        fx_run_until_gone(&f, "vm");
        fx_assert_clean(&f);
        fx_done(&f);
}

/* ---- refused when all is decided, and nobody has been asked yet ---- */

/* Whether anything can be written down. */
static void records_work(Fixture *f, bool work) {
        char path[] = "/tmp/undo-XXXXXX";

        if (work) {
                f->manager->records = state_store_free(f->manager->records);
                return;
        }
        assert_non_null(mkdtemp(path));
        assert_ok(state_store_open(path, &f->manager->records));
        assert_ok(rmdir(path));
}

/* A function that another process has, and that the VM does not get, is not asked who has it. */
static void refused_attachment(void **state) {
        static const struct {
                VmTier tier;
                VmHandover handover;
        } shapes[] = { { HW }, { TIER_HARDWARE, HANDOVER_VMM }, { TIER_EMULATED, HANDOVER_VMM } };

        (void)state;
        for_each_case(shape, shapes) {
                const PciAddress wanted = address(FN_C);
                _cleanup_close_ int iommufd = -1, cdev = -1;
                uint32_t device;
                Fixture f;

                fx_init(&f, "epyc-2p", NULL);
                assert_ok(fx_probe(&f, 1));
                assert_ok(fx_create(&f, "vm", shape->tier, shape->handover, FNS(FN_A)));
                assert_ok(f.kernel->ops->iommufd_open(f.kernel, &iommufd));
                assert_ok(f.kernel->ops->cdev_open(f.kernel, &wanted, &cdev));
                assert_ok(f.kernel->ops->cdev_bind(f.kernel, cdev, iommufd, NULL, &device));
                records_work(&f, false);
                assert_error(fx_attach(&f, "vm", FNS(FN_C)), ENOENT);
                assert_problem(&f.problem, PROBLEM_STORAGE, "cannot be written down");
                records_work(&f, true);
                assert_int_equal(fx_vm(&f, "vm")->context.n_functions, 1);
                assert_int_equal(fx_used(&f, RESOURCE_INSTANCES, 1), 0);

                cdev = fd_close(cdev);
                iommufd = fd_close(iommufd);
                assert_ok(fx_create(&f, "other", HW, FNS(FN_C)));
                assert_ok(fx_destroy(&f, "other", false));
                assert_ok(fx_destroy(&f, "vm", true));
                fx_assert_clean(&f);
                fx_done(&f);
        }
}

/* Nor is the service manager, which has failed to answer before. */
static void refused_creation(void **state) {
        FdStore *store;
        Fixture f;

        (void)state;
        fx_init(&f, "epyc-2p", NULL);
        assert_int_equal(setenv("NOTIFY_SOCKET", "/dev/null/nobody", 1), 0);
        assert_ok(fdstore_new(16, &store));
        assert_true(fdstore_barrier(store) < 0);
        f.manager->fdstore = store;
        records_work(&f, false);
        assert_error(fx_create(&f, "vm", HW, FNS(FN_A)), ENOENT);
        assert_problem(&f.problem, PROBLEM_STORAGE, "cannot be written down");
        records_work(&f, true);
        fx_run_until_gone(&f, "vm");
        assert_int_equal(f.n_added, 0);
        fx_assert_clean(&f);
        fx_done(&f);
        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(leash_ends_before_the_next_is_set),
                cmocka_unit_test(setting_a_leash_is_cancelled),
                cmocka_unit_test(refused_attachment),
                cmocka_unit_test(refused_creation),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
