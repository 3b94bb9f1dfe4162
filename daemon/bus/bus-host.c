/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /org/aviommu1/host/ivhdN, org.aviommu1.HostIommu: see dbus/org.aviommu1.HostIommu.xml. */

#include <errno.h>

#include "bus/bus-objects.h"

#define INTERFACE BUS_NAME ".HostIommu"

/* Names of IOMMUs that are not AMD's may have characters that a path cannot have. */
static const HostIommu *find_by_path(const Bus *bus, const char *path) {
        _cleanup_free_ char *name = NULL;

        if (sd_bus_path_decode(path, BUS_PATH_HOST, &name) <= 0)
                return NULL;
        return inventory_find_iommu_by_name(bus->manager->inventory, name);
}

/* ---- Probe ---- */

static void on_probed(void *userdata, int r, const Problem *problem) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        BusCall *call = userdata;
        const HostIommu *iommu = find_by_path(call->bus, sd_bus_message_get_path(call->message));

        if (r >= 0 && !iommu)
                r = -ENODEV;
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", kernel_level_to_string(iommu->level));
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

static int probe(BusCall *call) {
        const HostIommu *iommu = find_by_path(call->bus, sd_bus_message_get_path(call->message));

        if (!iommu)
                return problem_set(&call->problem, PROBLEM_NO_HOST_IOMMU,
                                   "There is no such host IOMMU.");
        return manager_probe(call->bus->manager, iommu->info.index, on_probed, call,
                             &call->problem);
}

static int method_probe(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "HostIommu", probe, error);
}

/* ---- properties ---- */

static bool is_drawn_on(const LedgerAccount *account, const HostIommu *iommu) {
        switch (account->kind) {
        case RESOURCE_INSTANCES:
                return account->scope == iommu->info.index;
        case RESOURCE_TRANS_DEVIDS:
                return account->scope == iommu->info.address.segment;
        case RESOURCE_CONTIGUOUS_MEMORY:
                return account->scope == iommu->memory_node;
        default:
                return true;
        }
}

static const char *vendor_to_string(IommuVendor vendor) {
        switch (vendor) {
        case IOMMU_VENDOR_AMD:
                return "amd";
        case IOMMU_VENDOR_INTEL:
                return "intel";
        default:
                return "other";
        }
}

static int append_features(sd_bus_message *m, const HostIommuInfo *info) {
        const struct {
                bool set;
                const char *name;
        } bits[] = {
                { info->efr & EFR_GT, "gt" },
                { info->efr & EFR_GIO, "gio" },
                { info->efr & EFR_VIOMMU, "viommu" },
                { info->efr2 & EFR2_GCR3TRP_MODE, "gcr3trp" },
        };
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < ELEMENTSOF(bits) && r >= 0; i++)
                if (bits[i].set)
                        r = sd_bus_message_append(m, "s", bits[i].name);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int get_property(sd_bus *b, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;
        const HostIommu *iommu = find_by_path(bus, path);
        const HostIommuInfo *info;

        (void)b, (void)interface, (void)error;
        if (!iommu)
                return -ENODEV;
        info = &iommu->info;

        if (streq(property, "Name"))
                return sd_bus_message_append(reply, "s", info->name);
        if (streq(property, "Vendor"))
                return sd_bus_message_append(reply, "s", vendor_to_string(info->vendor));
        if (streq(property, "PciAddress"))
                return sd_bus_message_append(
                        reply, "s", info->has_address ? PCI_ADDRESS_STRING(&info->address) : "");
        if (streq(property, "Segment"))
                return sd_bus_message_append(reply, "q", info->address.segment);
        if (streq(property, "NumaNode"))
                return sd_bus_message_append(
                        reply, "i", info->numa_node == KERNEL_NONE ? -1 : (int32_t)info->numa_node);
        if (streq(property, "Efr"))
                return sd_bus_message_append(reply, "t", info->efr);
        if (streq(property, "Efr2"))
                return sd_bus_message_append(reply, "t", info->efr2);
        if (streq(property, "Features"))
                return append_features(reply, info);
        if (streq(property, "KernelLevel"))
                return sd_bus_message_append(reply, "s", kernel_level_to_string(iommu->level));
        if (streq(property, "KernelLevelReason"))
                return sd_bus_message_append(reply, "s", iommu->level_reason);
        assert(streq(property, "Resources"));
        return bus_append_resources(reply, bus->manager->ledger, is_drawn_on, iommu);
}

static int find_object(sd_bus *b, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *error) {
        (void)b, (void)interface, (void)error;
        if (!find_by_path(userdata, path))
                return 0;
        *ret_found = userdata; /* the members find it again by its path */
        return 1;
}

static int enumerate(sd_bus *b, const char *prefix, void *userdata, char ***ret_nodes,
                     sd_bus_error *error) {
        const Bus *bus = userdata;
        size_t n;
        const HostIommu *iommus = inventory_get_iommus(bus->manager->inventory, &n);
        char **nodes = new0(char *, n + 1);

        (void)b, (void)prefix, (void)error;
        for (size_t i = 0; nodes && i < n; i++)
                if (sd_bus_path_encode(BUS_PATH_HOST, iommus[i].info.name, nodes + i) < 0) {
                        nodes[i] = NULL;
                        nodes = inventory_problems_free(nodes);
                }
        if (!nodes)
                return -ENOMEM;
        *ret_nodes = nodes;
        return 0;
}

static const sd_bus_vtable host_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Probe", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", level), method_probe,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Name", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Vendor", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("PciAddress", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Segment", "q", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("NumaNode", "i", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Efr", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Efr2", "t", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Features", "as", get_property, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("KernelLevel", "s", get_property, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("KernelLevelReason", "s", get_property, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Resources", "a(sstt)", get_property, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_VTABLE_END,
};

int bus_host_register(Bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus->bus, NULL, BUS_PATH_HOST, INTERFACE, host_vtable,
                                       find_object, bus);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus->bus, NULL, BUS_PATH_HOST, enumerate, bus);
        if (r >= 0)
                r = sd_bus_add_object_manager(bus->bus, NULL, BUS_PATH_HOST);
        return r < 0 ? r : 0;
}

void bus_host_emit_changed(Bus *bus) {
        size_t n;
        const HostIommu *iommus = inventory_get_iommus(bus->manager->inventory, &n);

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *path = NULL;

                if (sd_bus_path_encode(BUS_PATH_HOST, iommus[i].info.name, &path) >= 0)
                        (void)sd_bus_emit_properties_changed(bus->bus, path, INTERFACE,
                                                             "KernelLevel", "KernelLevelReason",
                                                             NULL);
        }
}
