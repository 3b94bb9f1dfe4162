/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The states of a VM: the whole table, and what follows from it. And the words of the API. */

#include "unit.h"

#include "vm/vm-state.h"
#include "vm/vm-types.h"

#define NO _VM_STATE_INVALID

/* state × {realized, leashed, drain, gone, stuck} */
static const VmState expected[_VM_STATE_MAX][_VM_EVENT_MAX] = {
        [VM_ADMITTED] = { VM_REALIZED, NO, VM_DRAINING, NO, NO },
        [VM_REALIZED] = { NO, VM_BOUND, VM_DRAINING, NO, NO },
        [VM_BOUND] = { NO, VM_BOUND, VM_DRAINING, NO, NO },
        [VM_DRAINING] = { NO, NO, NO, VM_RELEASED, VM_QUARANTINED },
        [VM_RELEASED] = { NO, NO, NO, NO, NO },
        [VM_QUARANTINED] = { NO, NO, VM_DRAINING, NO, NO },
};

static void whole_table(void **state) {
        (void)state;
        for (VmState s = 0; s < _VM_STATE_MAX; s++)
                for (VmEvent e = 0; e < _VM_EVENT_MAX; e++) {
                        VmState next = _VM_STATE_INVALID;
                        int r = vm_state_next(s, e, &next);

                        if (next != expected[s][e] || r != (next == NO ? -EBADFD : 0))
                                fail_msg("%s, event %u: %i, %i", vm_state_to_string(s), e, r, next);
                }
}

/* Whether @to can be reached from @from; @visited: a bit for each state on the way. */
static bool reaches(VmState from, VmState to, unsigned visited) {
        if (from == to)
                return true;
        for (VmEvent e = 0; e < _VM_EVENT_MAX; e++) {
                VmState next;

                if (vm_state_next(from, e, &next) >= 0 && !(visited & 1U << next) &&
                    reaches(next, to, visited | 1U << next))
                        return true;
        }
        return false;
}

static void every_state_is_reached(void **state) {
        (void)state;
        for (VmState s = 0; s < _VM_STATE_MAX; s++)
                assert_true(reaches(VM_ADMITTED, s, 1U << VM_ADMITTED));
}

static void every_state_can_be_released(void **state) {
        (void)state;
        for (VmState s = 0; s < _VM_STATE_MAX; s++)
                assert_true(reaches(s, VM_RELEASED, 1U << s));
}

static void nothing_leaves_released(void **state) {
        VmState next;

        (void)state;
        for (VmEvent e = 0; e < _VM_EVENT_MAX; e++)
                assert_error(vm_state_next(VM_RELEASED, e, &next), EBADFD);
}

/* What is being taken down never serves again. */
static void nothing_comes_back(void **state) {
        static const VmState ending[] = { VM_DRAINING, VM_QUARANTINED, VM_RELEASED };
        static const VmState alive[] = { VM_ADMITTED, VM_REALIZED, VM_BOUND };

        (void)state;
        for_each_case(s, ending) for_each_case(t, alive) assert_false(reaches(*s, *t, 1U << *s));
}

static void no_such_state_or_event(void **state) {
        VmState next;

        (void)state;
        assert_aborts((void)vm_state_next(_VM_STATE_MAX, VM_EVENT_DRAIN, &next));
        assert_aborts((void)vm_state_next(_VM_STATE_INVALID, VM_EVENT_DRAIN, &next));
        assert_aborts((void)vm_state_next(VM_BOUND, _VM_EVENT_MAX, &next));
        assert_aborts((void)vm_state_to_string(_VM_STATE_MAX));
        assert_aborts((void)vm_state_to_string(_VM_STATE_INVALID));
}

static void state_names(void **state) {
        static const char *const names[] = { "admitted", "realized", "bound",
                                             "draining", "released", "quarantined" };

        (void)state;
        assert_int_equal(ELEMENTSOF(names), _VM_STATE_MAX);
        for (VmState s = 0; s < _VM_STATE_MAX; s++)
                assert_string_equal(vm_state_to_string(s), names[s]);
}

/* ---- words ---- */

static void words(void **state) {
        static const char *const tiers[] = { "hardware", "emulated", "virtio" };
        static const char *const handovers[] = { "daemon", "vmm", "none" };
        static const char *const leashes[] = { "none", "pidfd", "caller", "agent", "definition" };
        static const char *const others[] = { "", "Hardware", "hardware ", "hard", "NONE", "vmms" };

        (void)state;
        assert_int_equal(ELEMENTSOF(tiers), _TIER_MAX);
        assert_int_equal(ELEMENTSOF(handovers), _HANDOVER_MAX);
        assert_int_equal(ELEMENTSOF(leashes), _LEASH_KIND_MAX);
        for (unsigned i = 0; i < 3; i++) {
                VmHandover handover;
                LeashKind leash;
                VmTier tier;

                assert_string_equal(vm_tier_to_string((VmTier)i), tiers[i]);
                assert_ok(vm_tier_from_string(tiers[i], &tier));
                assert_int_equal(tier, i);
                assert_string_equal(vm_handover_to_string((VmHandover)i), handovers[i]);
                assert_ok(vm_handover_from_string(handovers[i], &handover));
                assert_int_equal(handover, i);
                assert_string_equal(leash_kind_to_string((LeashKind)i), leashes[i]);
                assert_ok(leash_kind_from_string(leashes[i], &leash));
                assert_int_equal(leash, i);
        }
        assert_string_equal(leash_kind_to_string(LEASH_AGENT), leashes[LEASH_AGENT]);
        assert_string_equal(leash_kind_to_string(LEASH_DEFINITION), leashes[LEASH_DEFINITION]);
        for_each_case(other, others) {
                VmHandover handover = HANDOVER_VMM;
                LeashKind leash = LEASH_CALLER;
                VmTier tier = TIER_VIRTIO;

                assert_error(vm_tier_from_string(*other, &tier), EINVAL);
                assert_error(vm_handover_from_string(*other, &handover), EINVAL);
                assert_error(leash_kind_from_string(*other, &leash), EINVAL);
                assert_true(tier == TIER_VIRTIO && handover == HANDOVER_VMM &&
                            leash == LEASH_CALLER);
        }
        assert_aborts((void)vm_tier_to_string(_TIER_MAX));
        assert_aborts((void)vm_handover_to_string(_HANDOVER_MAX));
        assert_aborts((void)leash_kind_to_string(_LEASH_KIND_MAX));
}

static void states_have_names(void **state) {
        static const char *const others[] = { "", "bind", "boundless", "Bound", "invalid" };
        VmState parsed = VM_BOUND;

        (void)state;
        for (VmState s = 0; s < _VM_STATE_MAX; s++) {
                assert_ok(vm_state_from_string(vm_state_to_string(s), &parsed));
                assert_int_equal(parsed, s);
        }
        for_each_case(other, others) {
                parsed = VM_BOUND;
                assert_error(vm_state_from_string(*other, &parsed), EINVAL);
                assert_int_equal(parsed, VM_BOUND);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(states_have_names),
                cmocka_unit_test(whole_table),
                cmocka_unit_test(every_state_is_reached),
                cmocka_unit_test(every_state_can_be_released),
                cmocka_unit_test(nothing_leaves_released),
                cmocka_unit_test(nothing_comes_back),
                cmocka_unit_test(no_such_state_or_event),
                cmocka_unit_test(state_names),
                cmocka_unit_test(words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
