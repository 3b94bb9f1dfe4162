/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/operation.h"

#include <errno.h>

#include "base/fd-util.h"

int operation_new(size_t size, Vm *vm, const char *name, const char *caller, void *ret) {
        _cleanup_(operation_freep) Operation *op = calloc(1, size);

        assert(size >= sizeof(Operation));
        if (!op)
                return -ENOMEM;

        op->vm = vm;
        op->name = name;
        op->leash_pidfd = -1;
        context_init(&op->work, vm->context.tier, vm->context.handover);
        if (caller) {
                op->caller = strdup(caller);
                if (!op->caller)
                        return -ENOMEM;
        }

        *(Operation **)ret = TAKE_PTR(op);
        return 0;
}

Operation *operation_free(Operation *op) {
        if (!op)
                return NULL;

        if (op->destroy)
                op->destroy(op);
        sd_event_source_disable_unref(op->retry);
        host_scan_free(op->scanned);
        receipt_done(op->receipt);
        fd_close(op->leash_pidfd);
        context_done(&op->work);
        free(op->scan);
        free(op->vf_tokens);
        free(op->caller);
        free(op);
        return NULL;
}

int operation_add_scan(Operation *op, const PciAddress *address, const uint8_t *vf_token) {
        PciAddress *scan = reallocarray(op->scan, op->n_scan + 1, sizeof(*scan));
        uint8_t(*tokens)[16];

        if (!scan)
                return -ENOMEM;
        op->scan = scan;
        tokens = reallocarray(op->vf_tokens, op->n_scan + 1, sizeof(*tokens));
        if (!tokens)
                return -ENOMEM;
        op->vf_tokens = tokens;

        scan[op->n_scan] = *address;
        memset(tokens[op->n_scan], 0, sizeof(*tokens));
        if (vf_token)
                memcpy(tokens[op->n_scan], vf_token, sizeof(*tokens));
        op->n_scan++;
        return 0;
}
