/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "kernel/sim/sim-internal.h"

/* Trouble to order: faults, delays, hooks, and the counts of calls by which tests aim them. */

int sim_inject_fault(Kernel *k, const char *op, uint64_t nth, int error) {
        SimKernel *s = sim_kernel(k);
        int n = 0;

        if (nth == 0 || error <= 0)
                return -EINVAL;
        if (op) {
                n = sim_op_from_name(op);
                if (n < 0)
                        return n;
        }

        SIM_LOCKED(s);

        for (size_t i = 0; i < SIM_FAULTS_MAX; i++)
                if (s->state->faults[i].countdown == 0) {
                        s->state->faults[i] = (SimFault){
                                .any_op = !op,
                                .op = (uint32_t)n,
                                .countdown = nth,
                                .error = error,
                        };
                        return 0;
                }

        return -ENOSPC;
}

int sim_clear_faults(Kernel *k) {
        SimKernel *s = sim_kernel(k);

        SIM_LOCKED(s);

        memset(s->state->faults, 0, sizeof(s->state->faults));
        return 0;
}

/* Applies to the op named, or to all that "any op" includes. */
static int for_each_op(const char *op, void (*apply)(uint64_t *value, uint64_t *userdata),
                       uint64_t *values, uint64_t *userdata) {
        int n;

        if (op) {
                n = sim_op_from_name(op);
                if (n < 0)
                        return n;
                apply(&values[n], userdata);
                return 0;
        }

        for (n = 0; n < _SIM_OP_MAX; n++)
                if (sim_op_is_any((SimOp)n))
                        apply(&values[n], userdata);
        return 0;
}

static void apply_set(uint64_t *value, uint64_t *userdata) {
        *value = *userdata;
}

static void apply_add_up(uint64_t *value, uint64_t *userdata) {
        *userdata += *value;
}

int sim_set_delay(Kernel *k, const char *op, uint64_t usec) {
        SimKernel *s = sim_kernel(k);

        SIM_LOCKED(s);

        return for_each_op(op, apply_set, s->state->delay_usec, &usec);
}

void sim_set_hook(Kernel *k, SimHook hook, void *userdata) {
        SimKernel *s = sim_kernel(k);

        s->hook = hook;
        s->hook_userdata = userdata;
}

int sim_count_calls(Kernel *k, const char *op, uint64_t *ret) {
        SimKernel *s = sim_kernel(k);
        uint64_t sum = 0;
        int r;

        SIM_LOCKED(s);

        r = for_each_op(op, apply_add_up, s->state->calls, &sum);
        if (r < 0)
                return r;

        *ret = sum;
        return 0;
}
