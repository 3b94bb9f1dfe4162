/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/vm-types.h"

#include <errno.h>

static const char *const tiers[_TIER_MAX] = {
        [TIER_HARDWARE] = "hardware",
        [TIER_EMULATED] = "emulated",
        [TIER_VIRTIO] = "virtio",
};

static const char *const handovers[_HANDOVER_MAX] = {
        [HANDOVER_DAEMON] = "daemon",
        [HANDOVER_VMM] = "vmm",
        [HANDOVER_NONE] = "none",
};

static const char *const leashes[_LEASH_KIND_MAX] = {
        [LEASH_NONE] = "none",   [LEASH_PIDFD] = "pidfd",           [LEASH_CALLER] = "caller",
        [LEASH_AGENT] = "agent", [LEASH_DEFINITION] = "definition",
};

static const char *const end_reasons[] = {
        VM_END_VMM_EXITED, VM_END_CALLER_GONE, VM_END_NO_LEASH, VM_END_DESTROYED,
        VM_END_FAILED,     VM_END_LOST,        VM_END_REPORTED, VM_END_RECLAIMED,
};

static int word_find(const char *const *words, size_t n_words, const char *s) {
        for (size_t i = 0; i < n_words; i++)
                if (streq(words[i], s))
                        return (int)i;
        return -EINVAL;
}

const char *vm_end_reason_find(const char *s) {
        int i = word_find(end_reasons, ELEMENTSOF(end_reasons), s);

        return i < 0 ? NULL : end_reasons[i];
}

const char *vm_tier_to_string(VmTier tier) {
        assert(tier < _TIER_MAX);
        return tiers[tier];
}

const char *vm_handover_to_string(VmHandover handover) {
        assert(handover < _HANDOVER_MAX);
        return handovers[handover];
}

const char *leash_kind_to_string(LeashKind kind) {
        assert(kind < _LEASH_KIND_MAX);
        return leashes[kind];
}

int vm_tier_from_string(const char *s, VmTier *ret) {
        int i = word_find(tiers, ELEMENTSOF(tiers), s);

        if (i < 0)
                return i;
        *ret = (VmTier)i;
        return 0;
}

int vm_handover_from_string(const char *s, VmHandover *ret) {
        int i = word_find(handovers, ELEMENTSOF(handovers), s);

        if (i < 0)
                return i;
        *ret = (VmHandover)i;
        return 0;
}

int leash_kind_from_string(const char *s, LeashKind *ret) {
        int i = word_find(leashes, ELEMENTSOF(leashes), s);

        if (i < 0)
                return i;
        *ret = (LeashKind)i;
        return 0;
}
