/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Values that several objects show. */

#include "bus/bus-objects.h"

int bus_append_resources(sd_bus_message *m, const Ledger *ledger,
                         bool (*wanted)(const LedgerAccount *account, const HostIommu *iommu),
                         const HostIommu *iommu) {
        size_t n;
        const LedgerAccount *accounts = ledger_get_accounts(ledger, &n);
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sstt)");
        for (size_t i = 0; i < n && r >= 0; i++)
                if (!wanted || wanted(accounts + i, iommu))
                        r = sd_bus_message_append(
                                m, "(sstt)", resource_kind_to_string(accounts[i].kind),
                                RESOURCE_SCOPE_STRING(accounts[i].kind, accounts[i].scope),
                                accounts[i].capacity, accounts[i].used);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int bus_append_demands(sd_bus_message *m, const DemandSet *set) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sst)");
        for (size_t i = 0; i < set->n_demands && r >= 0; i++)
                if (set->demands[i].amount > 0)
                        r = sd_bus_message_append(
                                m, "(sst)", resource_kind_to_string(set->demands[i].kind),
                                RESOURCE_SCOPE_STRING(set->demands[i].kind, set->demands[i].scope),
                                set->demands[i].amount);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

const char *bus_iommu_name(const Bus *bus, uint32_t index) {
        const HostIommu *iommu = inventory_find_iommu(bus->manager->inventory, index);

        return iommu ? iommu->info.name : "";
}

const char *bus_function_state(const Bus *bus, const Vm *vm, const ContextFunction *f) {
        if (!inventory_find_function(bus->manager->inventory, &f->address))
                return "lost";
        if (f->draining || vm->state == VM_DRAINING || vm->state == VM_QUARANTINED)
                return "draining";
        if (f->handed_over || (vm->context.handover != HANDOVER_DAEMON && vm->state == VM_BOUND))
                return "bound";
        return f->device_id != 0 ? "realized" : "admitted";
}
