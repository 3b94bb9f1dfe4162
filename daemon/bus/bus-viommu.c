/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /org/aviommu1/vm/UUID/viommu/N, org.aviommu1.Viommu: see dbus/org.aviommu1.Viommu.xml. */

#include <errno.h>

#include "bus/bus-error.h"
#include "bus/bus-objects.h"
#include "bus/bus-path.h"

static int destroy(BusCall *call) {
        uint32_t host_iommu;
        Vm *vm;
        int r;

        r = bus_call_get_viommu(call, &vm, &host_iommu);
        return r < 0 ? r
                     : vm_destroy_viommu(vm, host_iommu, bus_call_get_sender(call),
                                         bus_call_answer_empty, call, &call->problem);
}

static int method_destroy(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Viommu", destroy, error);
}

static const ContextViommu *find_by_path(const Bus *bus, const char *path, const Vm **ret_vm) {
        uint32_t host_iommu;
        sd_id128_t uuid;

        if (bus_path_parse_vm(path, &uuid, &host_iommu) < 0)
                return NULL;
        *ret_vm = manager_find_vm(bus->manager, uuid);
        return *ret_vm ? context_find_viommu(&(*ret_vm)->context, host_iommu) : NULL;
}

static int append_devices(sd_bus_message *m, const VmContext *ctx, uint32_t host_iommu) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(ssu)");
        for (size_t i = 0; i < ctx->n_functions && r >= 0; i++) {
                const ContextFunction *f = ctx->functions + i;

                if (f->host_iommu == host_iommu)
                        r = sd_bus_message_append(m, "(ssu)", PCI_ADDRESS_STRING(&f->address),
                                                  GUEST_DEVICE_ID_STRING(f->guest_id),
                                                  f->vdevice_id);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int get_property(sd_bus *b, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;
        const Vm *vm;
        const ContextViommu *v = find_by_path(bus, path, &vm);

        (void)b, (void)interface, (void)error;
        if (!v)
                return -ENOENT;
        if (streq(property, "HostIommu"))
                return sd_bus_message_append(reply, "s", bus_iommu_name(bus, v->host_iommu));
        if (streq(property, "State"))
                return sd_bus_message_append(reply, "s", vm_state_to_string(vm->state));
        if (streq(property, "ViommuId"))
                return sd_bus_message_append(reply, "u", v->viommu_id);
        if (streq(property, "VfMmioOffset"))
                return sd_bus_message_append(reply, "t", v->vfmmio_offset);
        if (streq(property, "VfMmioSize"))
                return sd_bus_message_append(
                        reply, "t", v->viommu_id ? (uint64_t)KERNEL_VFMMIO_SIZE : UINT64_C(0));
        assert(streq(property, "Devices"));
        return append_devices(reply, &vm->context, v->host_iommu);
}

static int find_object(sd_bus *b, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *error) {
        uint32_t host_iommu;
        sd_id128_t uuid;
        const Vm *vm;
        Problem p = {};

        (void)b, (void)interface;
        if (bus_path_parse_vm(path, &uuid, &host_iommu) < 0)
                return 0;
        if (!find_by_path(userdata, path, &vm)) {
                (void)problem_set(&p, PROBLEM_NO_SUCH_VIOMMU,
                                  "There is no vIOMMU at %s (any more).", path);
                return bus_error_set(error, -ENOENT, &p);
        }
        *ret_found = userdata; /* the members find it again by its path */
        return 1;
}

#define PROPERTY(name, type) SD_BUS_PROPERTY(name, type, get_property, 0, 0)

static const sd_bus_vtable viommu_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Destroy", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_destroy,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        PROPERTY("HostIommu", "s"),
        PROPERTY("State", "s"),
        PROPERTY("ViommuId", "u"),
        PROPERTY("VfMmioOffset", "t"),
        PROPERTY("VfMmioSize", "t"),
        PROPERTY("Devices", "a(ssu)"),
        SD_BUS_VTABLE_END,
};

int bus_viommu_register(Bus *bus) {
        int r = sd_bus_add_fallback_vtable(bus->bus, NULL, BUS_PATH_VM, BUS_NAME ".Viommu",
                                           viommu_vtable, find_object, bus);

        return r < 0 ? r : 0;
}
