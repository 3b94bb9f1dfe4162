/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl show: everything about single VMs and their vIOMMUs.
 */
#include "ctl/ctl.h"
#include "ctl/render.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/reply.h"
#include "lib/table.h"

typedef struct Vdevice {
        const char *function, *guest_device_id;
        uint32_t vdevice_id;
} Vdevice;

typedef struct VdeviceList {
        Vdevice *items;
        size_t n;
} VdeviceList;

typedef struct Viommu {
        sd_bus_message *message;
        const char *path, *host_iommu, *state;
        uint32_t viommu_id;
        uint64_t vf_mmio_offset, vf_mmio_size;
        VdeviceList devices;
} Viommu;

typedef struct Operation {
        const char *name;
        uint64_t start_usec;
        uint32_t n_waiting;
} Operation;

typedef struct Vm {
        sd_bus_message *message;
        const char *uuid, *name, *tier, *handover, *state, *state_reason, *leash, *tenant;
        uint32_t owner_uid;
        uint64_t leash_deadline_usec, mapped_bytes;
        bool is_confirmed;
        VmFunctionList functions;
        StringList viommu_paths;
        ChargeList charges;
        Operation operation;
        Viommu *viommus;
        size_t n_viommus;
} Vm;

static int read_path(sd_bus_message *m, void *userdata) {
        StringList *l = userdata;
        const char *path;
        int r;

        r = sd_bus_message_read_basic(m, 'o', &path);
        if (r < 0)
                return r;
        l->items = alloc_grow(l->items, l->n, sizeof(const char *));
        l->items[l->n++] = path;
        return 0;
}

static int read_paths(sd_bus_message *m, void *paths) {
        return reply_read_array(m, "o", read_path, paths);
}

static int read_operation(sd_bus_message *m, void *userdata) {
        Operation *x = userdata;

        return sd_bus_message_read(m, "(stu)", &x->name, &x->start_usec, &x->n_waiting);
}

static int read_vdevice(sd_bus_message *m, void *userdata) {
        VdeviceList *l = userdata;
        Vdevice x;
        int r;

        r = sd_bus_message_read(m, "(ssu)", &x.function, &x.guest_device_id, &x.vdevice_id);
        if (r < 0)
                return r;
        l->items = alloc_grow(l->items, l->n, sizeof(Vdevice));
        l->items[l->n++] = x;
        return 0;
}

static int read_vdevices(sd_bus_message *m, void *devices) {
        return reply_read_array(m, "(ssu)", read_vdevice, devices);
}

static const ReplyField vm_fields[] = {
        { "Uuid", "s", offsetof(Vm, uuid), NULL },
        { "Name", "s", offsetof(Vm, name), NULL },
        { "Tier", "s", offsetof(Vm, tier), NULL },
        { "Handover", "s", offsetof(Vm, handover), NULL },
        { "State", "s", offsetof(Vm, state), NULL },
        { "StateReason", "s", offsetof(Vm, state_reason), NULL },
        { "OwnerUid", "u", offsetof(Vm, owner_uid), NULL },
        { "Tenant", "s", offsetof(Vm, tenant), NULL },
        { "Leash", "s", offsetof(Vm, leash), NULL },
        { "LeashDeadlineUSec", "t", offsetof(Vm, leash_deadline_usec), NULL },
        { "Confirmed", "b", offsetof(Vm, is_confirmed), NULL },
        { "Functions", "a(ssss)", offsetof(Vm, functions), reply_read_vm_functions },
        { "Viommus", "ao", offsetof(Vm, viommu_paths), read_paths },
        { "Charges", "a(sst)", offsetof(Vm, charges), reply_read_charges },
        { "MappedBytes", "t", offsetof(Vm, mapped_bytes), NULL },
        { "Operation", "(stu)", offsetof(Vm, operation), read_operation },
};

static const ReplyField viommu_fields[] = {
        { "HostIommu", "s", offsetof(Viommu, host_iommu), NULL },
        { "State", "s", offsetof(Viommu, state), NULL },
        { "ViommuId", "u", offsetof(Viommu, viommu_id), NULL },
        { "VfMmioOffset", "t", offsetof(Viommu, vf_mmio_offset), NULL },
        { "VfMmioSize", "t", offsetof(Viommu, vf_mmio_size), NULL },
        { "Devices", "a(ssu)", offsetof(Viommu, devices), read_vdevices },
};

static void vm_done(Vm *v) {
        for (size_t i = 0; i < v->n_viommus; i++) {
                free(v->viommus[i].devices.items);
                (void)sd_bus_message_unref(v->viommus[i].message);
        }
        free(v->viommus);
        vm_function_list_done(&v->functions);
        string_list_done(&v->viommu_paths);
        charge_list_done(&v->charges);
        (void)sd_bus_message_unref(v->message);
}

static int viommu_get(Ctl *ctl, const char *path, Viommu *v) {
        int r;

        v->path = path;
        r = client_get_properties(&ctl->client, path, AVIOMMU_VIOMMU_INTERFACE, NULL, &v->message,
                                  &ctl->failure);
        if (r < 0)
                return r;
        r = reply_read_fields(v->message, viommu_fields, ELEMENTSOF(viommu_fields), v);
        if (r < 0)
                return failure_set_malformed(&ctl->failure, "GetAll of a vIOMMU");
        return 0;
}

static int vm_get(Ctl *ctl, const char *path, Vm *v) {
        static const CallOptions options = { .what = "asking for the VM" };
        int r;

        r = client_get_properties(&ctl->client, path, AVIOMMU_VM_INTERFACE, &options, &v->message,
                                  &ctl->failure);
        if (r < 0)
                return r;
        r = reply_read_fields(v->message, vm_fields, ELEMENTSOF(vm_fields), v);
        if (r < 0)
                return failure_set_malformed(&ctl->failure, "GetAll of a VM");

        for (size_t i = 0; i < v->viommu_paths.n; i++) {
                v->viommus = alloc_grow(v->viommus, v->n_viommus, sizeof(Viommu));
                v->viommus[v->n_viommus] = (Viommu){};
                r = viommu_get(ctl, v->viommu_paths.items[i], &v->viommus[v->n_viommus++]);
                /* One that went away in the meantime is not there any more, that is all. */
                if (r == -ENOENT) {
                        v->n_viommus--;
                        continue;
                }
                if (r < 0)
                        return r;
        }
        return 0;
}

static Doc *viommu_to_doc(const Viommu *v) {
        Doc *d = doc_new_object(), *devices = doc_new_array();

        doc_add_string(d, "host_iommu", v->host_iommu);
        doc_add_string(d, "state", v->state);
        doc_add_number(d, "viommu_id", v->viommu_id);
        doc_add_number(d, "vf_mmio_offset", v->vf_mmio_offset);
        doc_add_number(d, "vf_mmio_size", v->vf_mmio_size);
        for (size_t i = 0; i < v->devices.n; i++) {
                Doc *x = doc_new_object();

                doc_add_string(x, "function", v->devices.items[i].function);
                doc_add_string(x, "guest_device_id", v->devices.items[i].guest_device_id);
                doc_add_number(x, "vdevice_id", v->devices.items[i].vdevice_id);
                doc_add(devices, NULL, x);
        }
        doc_add(d, "devices", devices);
        doc_add_string(d, "path", v->path);
        return d;
}

static Doc *vm_to_doc(const Vm *v) {
        Doc *d = doc_new_object(), *viommus = doc_new_array();

        doc_add_string(d, "uuid", v->uuid);
        doc_add_string(d, "name", v->name);
        doc_add_string(d, "tier", v->tier);
        doc_add_string(d, "handover", v->handover);
        doc_add_string(d, "state", v->state);
        doc_add_string(d, "state_reason", v->state_reason);
        doc_add_number(d, "owner_uid", v->owner_uid);
        doc_add_string(d, "tenant", strempty(v->tenant));
        doc_add_string(d, "leash", v->leash);
        doc_add_number(d, "leash_deadline_usec", v->leash_deadline_usec);
        doc_add_bool(d, "confirmed", v->is_confirmed);
        doc_add(d, "functions", vm_functions_to_doc(&v->functions, "state"));
        for (size_t i = 0; i < v->n_viommus; i++)
                doc_add(viommus, NULL, viommu_to_doc(&v->viommus[i]));
        doc_add(d, "viommus", viommus);
        doc_add(d, "charges", charges_to_doc(&v->charges));
        doc_add_number(d, "mapped_bytes", v->mapped_bytes);
        if (v->operation.name && *v->operation.name) {
                Doc *x = doc_new_object();

                doc_add_string(x, "name", v->operation.name);
                doc_add_number(x, "start_usec", v->operation.start_usec);
                doc_add_number(x, "n_waiting", v->operation.n_waiting);
                doc_add(d, "operation", x);
        } else
                doc_add_null(d, "operation");
        return d;
}

static char *leash_text(const Vm *v) {
        uint64_t now = now_usec();

        if (v->leash_deadline_usec == 0)
                return alloc_printf("%s", strempty(v->leash));
        return alloc_printf(
                "%s, taken down in %s", strempty(v->leash),
                FORMAT_DURATION(v->leash_deadline_usec > now ? v->leash_deadline_usec - now : 0));
}

static char *operation_text(const Vm *v) {
        uint64_t now = now_usec();

        if (!v->operation.name || !*v->operation.name)
                return alloc_printf("-");
        return alloc_printf(
                "%s, for %s, %" PRIu32 " waiting", v->operation.name,
                FORMAT_DURATION(now > v->operation.start_usec ? now - v->operation.start_usec : 0),
                v->operation.n_waiting);
}

static void print_facts(const Vm *v, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);
        _cleanup_free_ char *leash = leash_text(v), *operation = operation_text(v);

        TABLE_ADD(t, "UUID:", v->uuid);
        TABLE_ADD(t, "Name:", v->name);
        TABLE_ADD(t, "Tier:", v->tier);
        TABLE_ADD(t, "Handover:", v->handover);
        TABLE_ADD(t, "State:", v->state);
        table_colour(t, 1, state_colour(strempty(v->state)));
        if (v->state_reason && *v->state_reason)
                TABLE_ADD(t, "Reason:", v->state_reason);
        TABLE_ADD(t, "Owner:", FORMAT_COUNT(v->owner_uid));
        if (v->tenant && *v->tenant)
                TABLE_ADD(t, "Tenant:", v->tenant);
        TABLE_ADD(t, "Leash:", leash);
        TABLE_ADD(t, "Confirmed:", v->is_confirmed ? "yes" : "no");
        TABLE_ADD(t, "Mapped:", FORMAT_BYTES(v->mapped_bytes));
        TABLE_ADD(t, "Operation:", operation);
        table_print(t, o);
}

static void print_viommus(const Vm *v, Output *o) {
        static const TableColumn columns[] = {
                { "VIOMMU", 0 },
                { "STATE", TABLE_TRUNC | TABLE_LESS },
                { "ID", TABLE_RIGHT | TABLE_EXTRA },
                { "VF-MMIO", TABLE_RIGHT | TABLE_LESS },
                { "SIZE", TABLE_RIGHT | TABLE_EXTRA },
                { "FUNCTION", TABLE_TRUNC },
                { "GUEST", TABLE_TRUNC },
                { "VDEVICE", TABLE_RIGHT | TABLE_EXTRA },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < v->n_viommus; i++) {
                const Viommu *x = &v->viommus[i];
                char offset[FORMAT_SIZE];
                size_t k = 0;

                (void)snprintf(offset, sizeof(offset), "0x%" PRIx64, x->vf_mmio_offset);
                do {
                        const Vdevice *d = k < x->devices.n ? &x->devices.items[k] : NULL;

                        TABLE_ADD(t, x->host_iommu, x->state, FORMAT_COUNT(x->viommu_id), offset,
                                  FORMAT_BYTES(x->vf_mmio_size), d ? d->function : "-",
                                  cell_or_dash(d ? d->guest_device_id : NULL),
                                  d ? FORMAT_COUNT(d->vdevice_id) : "-");
                        table_colour(t, 1, state_colour(strempty(x->state)));
                } while (++k < x->devices.n);
        }
        table_print(t, o);
}

static void print_vm(const Vm *v, Output *o) {
        print_facts(v, o);
        if (v->functions.n > 0) {
                output_printf(o, "\n");
                print_vm_functions(&v->functions, "STATE", o);
        }
        if (v->n_viommus > 0) {
                output_printf(o, "\n");
                print_viommus(v, o);
        }
        if (v->charges.n > 0) {
                output_printf(o, "\n");
                print_charges(&v->charges, o);
        }
}

static int show_one(Ctl *ctl, const char *what, Doc *array, bool *is_first) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(vm_done) Vm v = {};
        const char *path;
        int r;

        r = ctl_find_vm(ctl, what, &reply, &path);
        if (r < 0)
                return r;
        r = vm_get(ctl, path, &v);
        if (r < 0)
                return r;

        if (ctl->out.json != JSON_OFF)
                doc_add(array, NULL, vm_to_doc(&v));
        else {
                if (!*is_first)
                        output_printf(&ctl->out, "\n");
                print_vm(&v, &ctl->out);
        }
        *is_first = false;
        return 0;
}

int verb_show(Ctl *ctl, int argc, char **argv) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();
        bool is_first = true;

        doc_add(d, "vms", array);
        for (int i = 0; i < argc; i++)
                if (show_one(ctl, argv[i], array, &is_first) < 0)
                        ctl_report(ctl, NULL);
        if (ctl->out.json != JSON_OFF)
                output_doc(&ctl->out, d);
        return 0;
}
