/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/definition.h"

#include <errno.h>
#include <stdio.h>

#include "core/admission.h"

/* ---- life ---- */

void definition_request_init(DefinitionRequest *request) {
        *request = (DefinitionRequest){};
        vm_request_init(&request->vm);
}

void definition_request_done(DefinitionRequest *request) {
        vm_request_done(&request->vm);
        free(request->removed);
        definition_request_init(request);
}

int definition_request_remove_function(DefinitionRequest *request, const PciAddress *address) {
        PciAddress *grown = reallocarray(request->removed, request->n_removed + 1,
                                         sizeof(PciAddress));

        if (!grown)
                return -ENOMEM;
        request->removed = grown;
        request->removed[request->n_removed++] = *address;
        return 0;
}

Definition *definition_new(sd_id128_t uuid) {
        Definition *d = new0(Definition, 1);

        if (!d)
                return NULL;
        vm_request_init(&d->vm);
        d->vm.uuid = uuid;
        return d;
}

Definition *definition_free(Definition *d) {
        if (!d)
                return NULL;

        definition_free(d->next);
        vm_request_done(&d->vm);
        free(d);
        return NULL;
}

const char *definition_get_name(const Definition *d, char buf[static SD_ID128_UUID_STRING_MAX]) {
        return d->vm.name ?: sd_id128_to_uuid_string(d->vm.uuid, buf);
}

/* ---- from a request ---- */

/* What a start would find out before it has looked at the host. */
static int check_functions(const VmRequest *vm, Problem *p) {
        for (size_t i = 0; i < vm->n_functions; i++) {
                const FunctionRequest *f = vm->functions + i;

                if (f->managed && vm->handover == HANDOVER_DAEMON)
                        return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                           "%s is said to be bound by libvirt later (managed), "
                                           "which does not go with handover \"daemon\".",
                                           PCI_ADDRESS_STRING(&f->address));
                if (f->has_guest_id && vm->tier != TIER_HARDWARE)
                        return problem_set(
                                p, PROBLEM_INVALID_ARGUMENT,
                                "%s is given guest device id %s, which only the hardware tier has.",
                                PCI_ADDRESS_STRING(&f->address),
                                GUEST_DEVICE_ID_STRING(f->guest_id));
                for (size_t j = 0; j < i && f->has_guest_id; j++)
                        if (vm->functions[j].has_guest_id &&
                            vm->functions[j].guest_id.bdf == f->guest_id.bdf)
                                return problem_set(p, PROBLEM_DUPLICATE_GUEST_ID,
                                                   "%s and %s would both be %s in the guest.",
                                                   PCI_ADDRESS_STRING(&vm->functions[j].address),
                                                   PCI_ADDRESS_STRING(&f->address),
                                                   GUEST_DEVICE_ID_STRING(f->guest_id));
        }
        return 0;
}

/* Whether a VM could ever be made of it. What a start would fill in stays open: defaults may be others then. */
static int check(const Definition *d, const Config *config, Problem *p) {
        _cleanup_(vm_request_done) VmRequest copy;
        int r;

        vm_request_init(&copy);
        r = vm_request_copy(&d->vm, &copy);
        if (r >= 0)
                r = admission_complete_request(&copy, config, p);
        return r < 0 ? r : check_functions(&copy, p);
}

int definition_from_request(const DefinitionRequest *request, uid_t owner_uid, const Config *config,
                            Definition **ret, Problem *p) {
        _cleanup_(definition_freep) Definition *d = definition_new(request->vm.uuid);
        int r;

        if (!d)
                return -ENOMEM;
        r = vm_request_copy(&request->vm, &d->vm);
        if (r < 0)
                return r;
        d->vm.uid = owner_uid;
        d->autostart = request->autostart;

        r = check(d, config, p);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

static int remove_function(Definition *d, const PciAddress *address, Problem *p) {
        FunctionRequest *functions = d->vm.functions;

        for (size_t i = 0; i < d->vm.n_functions; i++)
                if (pci_address_compare(&functions[i].address, address) == 0) {
                        d->vm.n_functions--;
                        memmove(functions + i, functions + i + 1,
                                (d->vm.n_functions - i) * sizeof(*functions));
                        return 0;
                }
        return problem_set(p, PROBLEM_NO_SUCH_FUNCTION,
                           "Function %s is not in the definition of %s: 'aviommuctl definition' "
                           "shows those that are.",
                           PCI_ADDRESS_STRING(address), SD_ID128_TO_UUID_STRING(d->vm.uuid));
}

static int change_functions(Definition *d, const DefinitionRequest *request, Problem *p) {
        int r = 0;

        for (size_t i = 0; i < request->n_removed && r >= 0; i++)
                r = remove_function(d, request->removed + i, p);
        for (size_t i = 0; i < request->vm.n_functions && r >= 0; i++)
                r = vm_request_add_function(&d->vm, request->vm.functions + i);
        return r;
}

/* What only the hardware tier has. */
static void leave_hardware(VmRequest *vm) {
        vm->has_guest_domains = false;
        for (size_t i = 0; i < vm->n_functions; i++)
                vm->functions[i].has_guest_id = false;
}

int definition_change(const Definition *definition, const DefinitionRequest *request,
                      const Config *config, Definition **ret, Problem *p) {
        _cleanup_(definition_freep) Definition *d = definition_new(definition->vm.uuid);
        const VmRequest *changes = &request->vm;
        int r;

        if (!d)
                return -ENOMEM;
        r = vm_request_copy(&definition->vm, &d->vm);
        if (r < 0)
                return r;
        d->autostart = request->has_autostart ? request->autostart : definition->autostart;

        if (changes->name) {
                free(d->vm.name);
                d->vm.name = strdup(changes->name);
                if (!d->vm.name)
                        return -ENOMEM;
        }
        if (changes->has_tier) {
                d->vm.has_tier = true;
                d->vm.tier = changes->tier;
                if (changes->tier != TIER_HARDWARE)
                        leave_hardware(&d->vm);
        }
        if (changes->has_handover) {
                d->vm.has_handover = true;
                d->vm.handover = changes->handover;
        }
        if (changes->tenant[0])
                memcpy(d->vm.tenant, changes->tenant, sizeof(d->vm.tenant));
        if (request->has_memory)
                d->vm.memory = changes->memory;
        if (changes->has_guest_domains) {
                d->vm.has_guest_domains = true;
                d->vm.guest_domains = changes->guest_domains;
        }
        r = change_functions(d, request, p);
        if (r >= 0)
                r = check(d, config, p);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(d);
        return 0;
}

/* ---- the record ---- */

int definition_save(const Definition *d, DefinitionRecord *ret) {
        DefinitionRecord record = {
                .uuid = d->vm.uuid,
                .number = d->number,
                .owner_uid = d->vm.uid,
                .memory = d->vm.memory,
                .has_guest_domains = d->vm.has_guest_domains,
                .guest_domains = d->vm.has_guest_domains ? d->vm.guest_domains : 0,
                .autostart = d->autostart,
        };

        (void)snprintf(record.name, sizeof(record.name), "%s", strempty(d->vm.name));
        (void)snprintf(record.tier, sizeof(record.tier), "%s", vm_tier_to_string(d->vm.tier));
        if (d->vm.has_handover)
                (void)snprintf(record.handover, sizeof(record.handover), "%s",
                               vm_handover_to_string(d->vm.handover));
        memcpy(record.tenant, d->vm.tenant, sizeof(record.tenant));
        record.functions = new0(RecordDefinedFunction, MAX(d->vm.n_functions, (size_t)1));
        if (!record.functions)
                return -ENOMEM;
        for (size_t i = 0; i < d->vm.n_functions; i++) {
                const FunctionRequest *f = d->vm.functions + i;
                RecordDefinedFunction *to = record.functions + record.n_functions++;

                *to = (RecordDefinedFunction){ .address = f->address,
                                               .has_guest_id = f->has_guest_id,
                                               .has_vf_token = f->has_vf_token,
                                               .managed = f->managed };
                if (f->has_guest_id)
                        to->guest_id = f->guest_id;
                if (f->has_vf_token)
                        memcpy(to->vf_token, f->vf_token, sizeof(to->vf_token));
        }

        *ret = record;
        return 0;
}

static int load_functions(const DefinitionRecord *record, VmRequest *vm) {
        int r = 0;

        for (size_t i = 0; i < record->n_functions && r >= 0; i++) {
                const RecordDefinedFunction *f = record->functions + i;
                FunctionRequest function = { .address = f->address,
                                             .has_guest_id = f->has_guest_id,
                                             .guest_id = f->guest_id,
                                             .has_vf_token = f->has_vf_token,
                                             .managed = f->managed };

                memcpy(function.vf_token, f->vf_token, sizeof(function.vf_token));
                r = vm_request_add_function(vm, &function);
        }
        return r;
}

int definition_load(const DefinitionRecord *record, Definition **ret) {
        _cleanup_(definition_freep) Definition *d = definition_new(record->uuid);
        int r;

        if (!d)
                return -ENOMEM;
        if (vm_tier_from_string(record->tier, &d->vm.tier) < 0 ||
            (record->handover[0] &&
             vm_handover_from_string(record->handover, &d->vm.handover) < 0) ||
            (record->tenant[0] && !tenant_is_valid(record->tenant)))
                return -EBADMSG;
        d->vm.has_tier = true;
        d->vm.has_handover = record->handover[0];
        if (record->name[0]) {
                d->vm.name = strdup(record->name);
                if (!d->vm.name)
                        return -ENOMEM;
        }
        memcpy(d->vm.tenant, record->tenant, sizeof(d->vm.tenant));
        d->vm.uid = record->owner_uid;
        d->vm.memory = record->memory;
        d->vm.has_guest_domains = record->has_guest_domains;
        d->vm.guest_domains = record->guest_domains;
        d->autostart = record->autostart;
        d->number = record->number;
        r = load_functions(record, &d->vm);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}
