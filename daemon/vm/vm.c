/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/vm.h"

#include <errno.h>
#include <stdio.h>

#include "vm/unplug-watch.h"

int vm_new(Manager *manager, sd_event *event, sd_id128_t uuid, const char *name, LeashEnded ended,
           Vm **ret) {
        _cleanup_(vm_freep) Vm *vm = new0(Vm, 1);

        if (!vm)
                return -ENOMEM;

        vm->manager = manager;
        vm->uuid = uuid;
        vm->state = VM_ADMITTED;
        leash_init(&vm->leash, event, ended);
        context_init(&vm->context, TIER_HARDWARE, HANDOVER_NONE);
        vm->name = strdup(name);
        if (!vm->name)
                return -ENOMEM;
        if (asprintf(&vm->title, "VM %s", name) < 0) {
                vm->title = NULL;
                return -ENOMEM;
        }

        *ret = TAKE_PTR(vm);
        return 0;
}

Vm *vm_free(Vm *vm) {
        if (!vm)
                return NULL;

        assert(!vm->operation);
        leash_done(&vm->leash);
        sd_event_source_disable_unref(vm->retry);
        while (vm->unplug_watches)
                unplug_watch_free(vm->unplug_watches);
        context_close(&vm->context);
        context_done(&vm->context);
        receipt_done(vm->receipt);
        free(vm->name);
        free(vm->title);
        free(vm);
        return NULL;
}

void vm_move(Vm *vm, VmEvent event) {
        int r = vm_state_next(vm->state, event, &vm->state);

        assert(r >= 0);
}
