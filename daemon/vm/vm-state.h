/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The states of a VM's context and the events that move it: one pure table, nothing else knows about transitions.
 * The operation in flight is a separate axis (vm/operation.h).
 */

#include "base/macro.h"

typedef enum VmState {
        VM_ADMITTED,    /* decided and charged; the kernel is being asked */
        VM_REALIZED,    /* what the handover promises exists; nobody's life is watched yet */
        VM_BOUND,       /* a leash holds */
        VM_DRAINING,    /* being taken down */
        VM_RELEASED,    /* gone from the kernel; the object is about to vanish */
        VM_QUARANTINED, /* could not be shown to be gone: charged still, an administrator's case */
        _VM_STATE_MAX,
        _VM_STATE_INVALID = -1,
} VmState;

typedef enum VmEvent {
        VM_EVENT_REALIZED, /* the kernel did all that was asked */
        VM_EVENT_LEASHED,  /* a leash was set */
        VM_EVENT_DRAIN,    /* taking down begins: wish, failure, end of the leash */
        VM_EVENT_GONE,     /* shown to be gone */
        VM_EVENT_STUCK,    /* taking down failed */
        _VM_EVENT_MAX,
} VmEvent;

const char *vm_state_to_string(VmState state);

/* Returns 0 or -EINVAL. */
int vm_state_from_string(const char *s, VmState *ret);

/* The state after @event, or -EBADFD when the event has no place in @state. */
int vm_state_next(VmState state, VmEvent event, VmState *ret);
