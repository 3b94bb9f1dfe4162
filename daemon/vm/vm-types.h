/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The words of the API that describe a VM: tier, handover, leash. */

#include "base/macro.h"

typedef enum VmTier { TIER_HARDWARE, TIER_EMULATED, TIER_VIRTIO, _TIER_MAX } VmTier;

typedef enum VmHandover {
        HANDOVER_DAEMON, /* the daemon makes the kernel objects and passes a finished context */
        HANDOVER_VMM,    /* the VMM makes them on an iommufd that the daemon configured */
        HANDOVER_NONE,   /* accounting only */
        _HANDOVER_MAX,
} VmHandover;

typedef enum LeashKind {
        LEASH_NONE,
        LEASH_PIDFD,
        LEASH_CALLER,
        LEASH_AGENT,      /* the reports of an agent (ReportVms) */
        LEASH_DEFINITION, /* a start of its definition: it waits for its VMM as long as that takes */
        _LEASH_KIND_MAX,
} LeashKind;

/* Why a VM is being taken down: the words of VmRemoved. */
#define VM_END_VMM_EXITED  "vmm-exited"
#define VM_END_CALLER_GONE "caller-gone"
#define VM_END_NO_LEASH    "no-leash"
#define VM_END_DESTROYED   "destroyed"
#define VM_END_FAILED      "failed"
#define VM_END_LOST        "lost"
#define VM_END_REPORTED    "agent-report"
#define VM_END_RECLAIMED   "reclaimed"

/* The word itself, with static storage, or NULL: no such word. */
const char *vm_end_reason_find(const char *s);

const char *vm_tier_to_string(VmTier tier);
const char *vm_handover_to_string(VmHandover handover);
const char *leash_kind_to_string(LeashKind kind);

/* Return 0 or -EINVAL. */
int vm_tier_from_string(const char *s, VmTier *ret);
int vm_handover_from_string(const char *s, VmHandover *ret);
int leash_kind_from_string(const char *s, LeashKind *ret);
