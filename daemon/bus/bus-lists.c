/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ListVms, ListVmDetails and ListFunctions: pages, so that no reader can make the daemon build a reply of any size. */

#include <errno.h>
#include <stdio.h>

#include "bus/bus-objects.h"
#include "bus/bus-path.h"
#include "core/manager.h"

#define PAGE_MAX UINT32_C(1000)

int bus_read_page(BusCall *call, const char **ret_cursor, uint32_t *ret_limit) {
        int r;

        r = sd_bus_message_read(call->message, "su", ret_cursor, ret_limit);
        if (r < 0)
                return r;
        if (*ret_limit == 0 || *ret_limit > PAGE_MAX)
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "limit is %u, but wants 1 to %u.", *ret_limit, PAGE_MAX);
        return 0;
}

/* What a VM is listed with: (sssssuo), and with @details (sssssuoa{sv}). */
static int append_vm(sd_bus_message *m, const Vm *vm, bool details) {
        int r;

        r = sd_bus_message_open_container(m, 'r', details ? "sssssuoa{sv}" : "sssssuo");
        if (r >= 0)
                r = sd_bus_message_append(m, "sssssuo", SD_ID128_TO_UUID_STRING(vm->uuid), vm->name,
                                          vm_tier_to_string(vm->context.tier),
                                          vm_handover_to_string(vm->context.handover),
                                          vm_state_to_string(vm->state),
                                          (uint32_t)vm->context.n_functions, BUS_VM_PATH(vm->uuid));
        if (r >= 0 && details)
                r = sd_bus_message_append(m, "a{sv}", 2, "tenant", "s", vm->tenant, "owner-uid",
                                          "u", (uint32_t)vm->owner_uid);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int list(BusCall *call, bool details) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Manager *m = call->bus->manager;
        const char *cursor;
        sd_id128_t after;
        uint32_t limit;
        size_t i = 0, end;
        int r;

        r = bus_read_page(call, &cursor, &limit);
        if (r < 0)
                return r;
        if (*cursor) {
                if (sd_id128_from_string(cursor, &after) < 0)
                        return problem_set(
                                &call->problem, PROBLEM_INVALID_ARGUMENT,
                                "The cursor is what the page before gave as next, or empty.");
                i = manager_first_after(m, after);
        }
        end = MIN(i + limit, m->n_vms);

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a',
                                                  details ? "(sssssuoa{sv})" : "(sssssuo)");
        for (; i < end && r >= 0; i++)
                r = append_vm(reply, m->vms[i], details);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(
                        reply, "s",
                        end < m->n_vms ? SD_ID128_TO_UUID_STRING(m->vms[end - 1]->uuid) : "");
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

static int list_vms(BusCall *call) {
        return list(call, false);
}

int bus_method_list_vms(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", list_vms, error);
}

static int list_vm_details(BusCall *call) {
        return list(call, true);
}

int bus_method_list_vm_details(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", list_vm_details, error);
}

/* ---- functions ---- */

static const Claim *find_claim(const Manager *m, const PciAddress *function) {
        const Claim *claim;

        HASH_FIND(hh, m->claims, function, sizeof(*function), claim);
        return claim;
}

static const char *function_state(const PciFunctionInfo *f, const Claim *claim) {
        if (claim && claim->reservation && !claim->vm)
                return "reserved";
        if (claim)
                return "assigned";
        if (pci_function_has_vfio_driver(f))
                return "idle";
        return f->driver[0] ? "host" : "unbound";
}

static int append_details(sd_bus_message *m, const PciFunctionInfo *f) {
        char cdev[32] = "";
        int r;

        if (f->cdev != KERNEL_NONE)
                (void)snprintf(cdev, sizeof(cdev), "vfio%u", f->cdev);
        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}", "vendor-id", "q", f->vendor_id,
                                          "device-id", "q", f->device_id, "class", "u",
                                          f->class_code, "cdev", "s", cdev, "group-type", "s",
                                          f->group_type);
        if (r >= 0 && f->host_use[0])
                r = sd_bus_message_append(m, "{sv}", "host-use", "s", f->host_use);
        if (r >= 0 && f->is_virtual)
                r = sd_bus_message_append(m, "{sv}", "physical-function", "s",
                                          PCI_ADDRESS_STRING(&f->physical_function));
        if (r >= 0 && f->n_aliases > 0) {
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", "aliases");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'v', "as");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'a', "s");
                for (size_t i = 0; i < f->n_aliases && r >= 0; i++) {
                        PciAddress alias = { .segment = f->address.segment,
                                             .bus = (uint8_t)(f->aliases[i] >> 8),
                                             .devfn = (uint8_t)f->aliases[i] };

                        r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(&alias));
                }
                for (int i = 0; i < 3 && r >= 0; i++)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_function(sd_bus_message *m, const Bus *bus, const PciFunctionInfo *f,
                           const Claim *claim, const char *state) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sssuissa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(
                        m, "sssuiss", PCI_ADDRESS_STRING(&f->address), f->driver,
                        bus_iommu_name(bus, f->host_iommu), f->group,
                        f->numa_node == KERNEL_NONE ? -1 : (int32_t)f->numa_node, state,
                        claim && claim->vm ? SD_ID128_TO_UUID_STRING(claim->vm->uuid) : "");
        if (r >= 0)
                r = append_details(m, f);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* What is listed: the functions there are, and those that VMs hold but that are gone. */
typedef struct FunctionList {
        const HostScan *scan;
        const PciAddress **lost;
        size_t n_lost;
        size_t i, j; /* next of scan and of lost */
} FunctionList;

static int lost_compare(const void *a, const void *b) {
        return pci_address_compare(*(const PciAddress *const *)a, *(const PciAddress *const *)b);
}

/* Collects the lost ones and goes behind @after (NULL: to the start). */
static int function_list_init(FunctionList *list, const Manager *m, const PciAddress *after) {
        *list = (FunctionList){ .scan = inventory_get_scan(m->inventory) };
        list->lost = new0(const PciAddress *, HASH_COUNT(m->claims) + 1);
        if (!list->lost)
                return -ENOMEM;

        for (const Claim *c = m->claims; c; c = c->hh.next)
                if (!inventory_find_function(m->inventory, &c->function))
                        list->lost[list->n_lost++] = &c->function;
        qsort(list->lost, list->n_lost, sizeof(*list->lost), lost_compare);

        while (after && list->i < list->scan->n_functions &&
               pci_address_compare(&list->scan->functions[list->i].address, after) <= 0)
                list->i++;
        while (after && list->j < list->n_lost &&
               pci_address_compare(list->lost[list->j], after) <= 0)
                list->j++;
        return 0;
}

static const PciAddress *function_list_peek(FunctionList *list) {
        const PciAddress *there, *lost = list->j < list->n_lost ? list->lost[list->j] : NULL;

        while (list->i < list->scan->n_functions && list->scan->functions[list->i].is_bridge)
                list->i++;
        there = list->i < list->scan->n_functions ? &list->scan->functions[list->i].address : NULL;
        return there && (!lost || pci_address_compare(there, lost) < 0) ? there : lost;
}

static void function_list_next(FunctionList *list, const PciAddress *current) {
        if (list->j < list->n_lost && list->lost[list->j] == current)
                list->j++;
        else
                list->i++;
}

static int append_function_at(sd_bus_message *m, const Bus *bus, const PciAddress *address) {
        const PciFunctionInfo *f = inventory_find_function(bus->manager->inventory, address);
        const Claim *claim = find_claim(bus->manager, address);
        const PciFunctionInfo lost = { .address = *address,
                                       .host_iommu = KERNEL_NONE,
                                       .group = KERNEL_NONE,
                                       .numa_node = KERNEL_NONE,
                                       .cdev = KERNEL_NONE };

        return f ? append_function(m, bus, f, claim, function_state(f, claim))
                 : append_function(m, bus, &lost, claim, "lost");
}

static int list_functions(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ const PciAddress **lost = NULL;
        const PciAddress *at, *last = NULL;
        FunctionList list;
        const char *cursor;
        PciAddress after;
        uint32_t limit;
        int r;

        r = bus_read_page(call, &cursor, &limit);
        if (r < 0)
                return r;
        if (*cursor && pci_address_parse(cursor, &after) < 0)
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "The cursor is what the page before gave as next, or empty.");
        r = function_list_init(&list, call->bus->manager, *cursor ? &after : NULL);
        if (r < 0)
                return r;
        lost = list.lost;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sssuissa{sv})");
        for (; r >= 0 && limit > 0 && (at = function_list_peek(&list)); limit--) {
                r = append_function_at(reply, call->bus, at);
                last = at;
                function_list_next(&list, at);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(
                        reply, "s",
                        last && function_list_peek(&list) ? PCI_ADDRESS_STRING(last) : "");
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

int bus_method_list_functions(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", list_functions, error);
}
