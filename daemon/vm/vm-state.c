/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/vm-state.h"

#include <errno.h>

static const char *const names[_VM_STATE_MAX] = {
        [VM_ADMITTED] = "admitted", [VM_REALIZED] = "realized", [VM_BOUND] = "bound",
        [VM_DRAINING] = "draining", [VM_RELEASED] = "released", [VM_QUARANTINED] = "quarantined",
};

int vm_state_from_string(const char *s, VmState *ret) {
        for (VmState i = 0; i < _VM_STATE_MAX; i++)
                if (streq(names[i], s)) {
                        *ret = i;
                        return 0;
                }
        return -EINVAL;
}

const char *vm_state_to_string(VmState state) {
        assert(state >= 0 && state < _VM_STATE_MAX);
        return names[state];
}

/* 0 (VM_ADMITTED) is never a target, so it stands for "no such transition". */
static const VmState table[_VM_STATE_MAX][_VM_EVENT_MAX] = {
        [VM_ADMITTED] = {
                [VM_EVENT_REALIZED] = VM_REALIZED,
                [VM_EVENT_DRAIN] = VM_DRAINING,
        },
        [VM_REALIZED] = {
                [VM_EVENT_LEASHED] = VM_BOUND,
                [VM_EVENT_DRAIN] = VM_DRAINING,
        },
        [VM_BOUND] = {
                [VM_EVENT_LEASHED] = VM_BOUND, /* a new leash replaces the old one */
                [VM_EVENT_DRAIN] = VM_DRAINING,
        },
        [VM_DRAINING] = {
                [VM_EVENT_GONE] = VM_RELEASED,
                [VM_EVENT_STUCK] = VM_QUARANTINED,
        },
        [VM_QUARANTINED] = {
                [VM_EVENT_DRAIN] = VM_DRAINING, /* tried again */
        },
};

int vm_state_next(VmState state, VmEvent event, VmState *ret) {
        assert(state >= 0 && state < _VM_STATE_MAX);
        assert(event < _VM_EVENT_MAX);

        if (table[state][event] == VM_ADMITTED)
                return -EBADFD;

        *ret = table[state][event];
        return 0;
}
