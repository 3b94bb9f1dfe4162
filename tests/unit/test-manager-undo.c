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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(leash_ends_before_the_next_is_set),
                cmocka_unit_test(setting_a_leash_is_cancelled),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
