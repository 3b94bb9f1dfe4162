/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Vm.Describe("json"): one document, "version": 1, the same words as the properties. */

#include <errno.h>
#include <json-c/json.h>

#include "bus/bus-objects.h"

/* Adds @value (taken over) under @key; a NULL value means that memory ran out. */
static int put(json_object *object, const char *key, json_object *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_object_add(object, key, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

static int put_string(json_object *object, const char *key, const char *value) {
        return put(object, key, json_object_new_string(value));
}

static int put_number(json_object *object, const char *key, uint64_t value) {
        return put(object, key, json_object_new_uint64(value));
}

/* Appends a new object to a list and returns it, NULL without memory. */
static json_object *append_object(json_object *list) {
        json_object *object = json_object_new_object();

        if (object && json_object_array_add(list, object) < 0) {
                json_object_put(object);
                return NULL;
        }
        return object;
}

static int put_list(json_object *object, const char *key, json_object **ret) {
        *ret = json_object_new_array();
        return put(object, key, *ret);
}

static int put_functions(json_object *root, const Bus *bus, const Vm *vm) {
        json_object *list, *o;
        int r;

        r = put_list(root, "functions", &list);
        for (size_t i = 0; i < vm->context.n_functions && r >= 0; i++) {
                const ContextFunction *f = vm->context.functions + i;

                o = append_object(list);
                r = o ? put_string(o, "address", PCI_ADDRESS_STRING(&f->address)) : -ENOMEM;
                if (r >= 0)
                        r = put_string(o, "host-iommu", bus_iommu_name(bus, f->host_iommu));
                if (r >= 0)
                        r = put_number(o, "group", f->group);
                if (r >= 0 && vm->context.tier == TIER_HARDWARE)
                        r = put_string(o, "guest-device-id", GUEST_DEVICE_ID_STRING(f->guest_id));
                if (r >= 0)
                        r = put_string(o, "state", bus_function_state(bus, vm, f));
                if (r >= 0)
                        r = put_number(o, "device-id", f->device_id);
                if (r >= 0)
                        r = put_number(o, "vdevice-id", f->vdevice_id);
        }
        return r;
}

static int put_viommus(json_object *root, const Bus *bus, const Vm *vm) {
        json_object *list, *o;
        int r;

        r = put_list(root, "viommus", &list);
        for (size_t i = 0; i < vm->context.n_viommus && r >= 0; i++) {
                const ContextViommu *v = vm->context.viommus + i;

                o = append_object(list);
                r = o ? put_string(o, "host-iommu", bus_iommu_name(bus, v->host_iommu)) : -ENOMEM;
                if (r >= 0)
                        r = put_number(o, "viommu-id", v->viommu_id);
                if (r >= 0)
                        r = put_number(o, "vf-mmio-offset", v->vfmmio_offset);
                if (r >= 0)
                        r = put_number(o, "vf-mmio-size", v->viommu_id ? KERNEL_VFMMIO_SIZE : 0);
        }
        return r;
}

static int put_charges(json_object *root, const Vm *vm) {
        _cleanup_(demand_set_done) DemandSet set = {};
        json_object *list, *o;
        int r;

        r = put_list(root, "charges", &list);
        if (r >= 0)
                r = receipt_get_demands(vm->receipt, &set);
        for (size_t i = 0; i < set.n_demands && r >= 0; i++) {
                const Demand *d = set.demands + i;

                if (d->amount == 0)
                        continue;
                o = append_object(list);
                r = o ? put_string(o, "kind", resource_kind_to_string(d->kind)) : -ENOMEM;
                if (r >= 0)
                        r = put_string(o, "scope", RESOURCE_SCOPE_STRING(d->kind, d->scope));
                if (r >= 0)
                        r = put_number(o, "amount", d->amount);
        }
        return r;
}

static int put_mappings(json_object *root, const Vm *vm) {
        json_object *list, *o;
        int r;

        r = put_list(root, "mappings", &list);
        for (size_t i = 0; i < vm->context.n_mappings && r >= 0; i++) {
                o = append_object(list);
                r = o ? put_number(o, "iova", vm->context.mappings[i].iova) : -ENOMEM;
                if (r >= 0)
                        r = put_number(o, "length", vm->context.mappings[i].length);
        }
        return r;
}

static int put_vm(json_object *root, const Bus *bus, const Vm *vm) {
        const struct {
                const char *key, *value;
        } words[] = {
                { "uuid", SD_ID128_TO_UUID_STRING(vm->uuid) },
                { "name", vm->name },
                { "tier", vm_tier_to_string(vm->context.tier) },
                { "handover", vm_handover_to_string(vm->context.handover) },
                { "state", vm_state_to_string(vm->state) },
                { "state-reason", vm->state_reason },
                { "leash", leash_kind_to_string(vm->leash.kind) },
                { "tenant", vm->tenant },
        };
        int r;

        r = put_number(root, "version", 1);
        for (size_t i = 0; i < ELEMENTSOF(words) && r >= 0; i++)
                r = put_string(root, words[i].key, words[i].value);
        if (r >= 0)
                r = put_number(root, "owner-uid", vm->owner_uid);
        if (r >= 0)
                r = put(root, "confirmed", json_object_new_boolean(vm->context.confirmed));
        if (r >= 0)
                r = put_number(root, "memory", vm->memory);
        if (r >= 0)
                r = put_number(root, "guest-domains", vm->guest_domains);
        if (r >= 0)
                r = put_functions(root, bus, vm);
        if (r >= 0)
                r = put_viommus(root, bus, vm);
        if (r >= 0)
                r = put_mappings(root, vm);
        return r < 0 ? r : put_charges(root, vm);
}

int bus_describe_vm_json(const Bus *bus, const Vm *vm, char **ret) {
        json_object *root = json_object_new_object();
        const char *text = NULL;
        int r;

        r = root ? put_vm(root, bus, vm) : -ENOMEM;
        if (r >= 0) {
                text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN |
                                                                    JSON_C_TO_STRING_NOSLASHESCAPE);
                *ret = text ? strdup(text) : NULL;
                r = *ret ? 0 : -ENOMEM;
        }
        json_object_put(root);
        return r;
}
