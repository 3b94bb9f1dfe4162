/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /org/aviommu1/vm/UUID, org.aviommu1.Vm: see dbus/org.aviommu1.Vm.xml for what each member means. */

#include <errno.h>

#include "bus/bus-error.h"
#include "bus/bus-objects.h"
#include "bus/bus-path.h"
#include "bus/bus-request.h"

#define INTERFACE BUS_NAME ".Vm"

/* Most methods: look up the VM, read the arguments, hand the wish to the core, answer when it is done. */
#define METHOD(name, handler)                                                                      \
        static int method_##name(sd_bus_message *m, void *userdata, sd_bus_error *error) {         \
                return bus_call_start(userdata, m, "Vm", handler, error);                          \
        }                                                                                          \
        struct _semicolon_##name

static int attach_device(BusCall *call) {
        _cleanup_(vm_request_done) VmRequest request;
        Vm *vm;
        int r;

        vm_request_init(&request);
        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = bus_read_attach_request(call->message, &request, &call->problem);
        return r < 0 ? r
                     : vm_attach_functions(vm, request.functions, request.n_functions,
                                           request.memory, bus_call_get_sender(call),
                                           bus_call_answer_empty, call, &call->problem);
}
METHOD(attach_device, attach_device);

static int detach_device(BusCall *call) {
        PciAddress function;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = bus_read_address(call->message, &function, &call->problem);
        return r < 0 ? r
                     : vm_detach_function(vm, &function, bus_call_get_sender(call),
                                          bus_call_answer_empty, call, &call->problem);
}
METHOD(detach_device, detach_device);

static int map_memory(BusCall *call) {
        KernelMapping mapping;
        uint32_t flags;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "htttu", &mapping.fd, &mapping.offset,
                                        &mapping.length, &mapping.iova, &flags);
        if (r < 0)
                return r;
        if (flags > 1)
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "flags is 0x%x; there is only 1 (writable).", flags);
        mapping.writable = flags & 1;
        return vm_map_memory(vm, &mapping, bus_call_get_sender(call), bus_call_answer_empty, call,
                             &call->problem);
}
METHOD(map_memory, map_memory);

static int unmap_memory(BusCall *call) {
        uint64_t iova, length;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "tt", &iova, &length);
        return r < 0 ? r
                     : vm_unmap_memory(vm, iova, length, bus_call_get_sender(call),
                                       bus_call_answer_empty, call, &call->problem);
}
METHOD(unmap_memory, unmap_memory);

static int confirm_context(BusCall *call) {
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        return r < 0 ? r
                     : vm_confirm_context(vm, bus_call_get_sender(call), bus_call_answer_empty,
                                          call, &call->problem);
}
METHOD(confirm_context, confirm_context);

static int destroy(BusCall *call) {
        bool force;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = bus_read_destroy_options(call->message, &force, &call->problem);
        return r < 0 ? r
                     : vm_destroy(vm, force, bus_call_get_sender(call), bus_call_answer_empty, call,
                                  &call->problem);
}
METHOD(destroy, destroy);

static int set_leash(BusCall *call) {
        int pidfd, r;
        Vm *vm;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "h", &pidfd);
        if (r >= 0)
                r = vm_set_leash(vm, pidfd, bus_call_get_sender(call), bus_call_answer_empty, call,
                                 &call->problem);
        return r;
}
METHOD(set_leash, set_leash);

static int cancel(BusCall *call) {
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = vm_cancel(vm, &call->problem);
        if (r < 0)
                return r;
        bus_call_reply(call, NULL);
        return 0;
}
METHOD(cancel, cancel);

/* ---- CreateViommu ---- */

static void on_viommu_created(void *userdata, int r, const Problem *problem) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        BusCall *call = userdata;
        const HostIommu *iommu = NULL;
        const char *name;
        Vm *vm;

        if (r >= 0)
                r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_rewind(call->message, true);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "s", &name);
        if (r >= 0) {
                iommu = inventory_find_iommu_by_name(call->bus->manager->inventory, name);
                r = iommu ? sd_bus_message_new_method_return(call->message, &reply) : -ENODEV;
        }
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", BUS_VIOMMU_PATH(vm->uuid, iommu->info.index));
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

static int create_viommu(BusCall *call) {
        const HostIommu *iommu;
        const char *name;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "s", &name);
        if (r < 0)
                return r;
        iommu = inventory_find_iommu_by_name(call->bus->manager->inventory, name);
        if (!iommu)
                return problem_set(&call->problem, PROBLEM_NO_HOST_IOMMU,
                                   "There is no host IOMMU \"%.32s\"; 'aviommuctl host' lists "
                                   "those there are.",
                                   name);
        return vm_create_viommu(vm, iommu->info.index, bus_call_get_sender(call), on_viommu_created,
                                call, &call->problem);
}
METHOD(create_viommu, create_viommu);

/* ---- OpenContext, OpenDevice ---- */

static int append_ids(sd_bus_message *m, const Bus *bus, const VmContext *ctx) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && ctx->handover == HANDOVER_DAEMON) {
                r = sd_bus_message_append(m, "{sv}{sv}", "ioas", "u", ctx->ioas_id, "hwpt", "u",
                                          ctx->hwpt_id);
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", "devices");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'v', "a(susu)");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'a', "(susu)");
                for (size_t i = 0; i < ctx->n_functions && r >= 0; i++) {
                        const ContextFunction *f = ctx->functions + i;

                        r = sd_bus_message_append(
                                m, "(susu)", PCI_ADDRESS_STRING(&f->address), f->device_id,
                                ctx->tier == TIER_HARDWARE ? GUEST_DEVICE_ID_STRING(f->guest_id)
                                                           : "",
                                f->vdevice_id);
                }
                for (int i = 0; i < 3 && r >= 0; i++)
                        r = sd_bus_message_close_container(m);
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", "viommus");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'v', "a(sutt)");
                if (r >= 0)
                        r = sd_bus_message_open_container(m, 'a', "(sutt)");
                for (size_t i = 0; i < ctx->n_viommus && r >= 0; i++) {
                        const ContextViommu *v = ctx->viommus + i;

                        r = sd_bus_message_append(m, "(sutt)", bus_iommu_name(bus, v->host_iommu),
                                                  v->viommu_id, v->vfmmio_offset,
                                                  (uint64_t)KERNEL_VFMMIO_SIZE);
                }
                for (int i = 0; i < 3 && r >= 0; i++)
                        r = sd_bus_message_close_container(m);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static void on_context_opened(void *userdata, int r, const Problem *problem) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        BusCall *call = userdata;
        Vm *vm;

        if (r >= 0)
                r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "h", vm->context.iommufd);
        if (r >= 0)
                r = append_ids(reply, call->bus, &vm->context);
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

static int open_context(BusCall *call) {
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        return r < 0 ? r
                     : vm_open_context(vm, NULL, bus_call_get_sender(call), on_context_opened, call,
                                       &call->problem);
}
METHOD(open_context, open_context);

static void on_device_opened(void *userdata, int r, const Problem *problem) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        BusCall *call = userdata;
        const ContextFunction *f;
        PciAddress function;
        Vm *vm;

        if (r >= 0)
                r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_rewind(call->message, true);
        if (r >= 0)
                r = bus_read_address(call->message, &function, NULL);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0) {
                f = context_find_function(&vm->context, &function);
                r = f ? sd_bus_message_append(reply, "h", f->cdev) : -ENODEV;
        }
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

static int open_device(BusCall *call) {
        PciAddress function;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = bus_read_address(call->message, &function, &call->problem);
        return r < 0 ? r
                     : vm_open_context(vm, &function, bus_call_get_sender(call), on_device_opened,
                                       call, &call->problem);
}
METHOD(open_device, open_device);

/* ---- Describe ---- */

static int describe(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *text = NULL;
        const char *format;
        Vm *vm;
        int r;

        r = bus_call_get_vm(call, &vm);
        if (r >= 0)
                r = sd_bus_message_read(call->message, "s", &format);
        if (r < 0)
                return r;
        if (streq(format, "json"))
                r = bus_describe_vm_json(call->bus, vm, &text);
        else if (streq(format, "libvirt-xml"))
                r = bus_describe_vm_libvirt(vm, &text, &call->problem);
        else if (streq(format, "qemu-args"))
                r = bus_describe_vm_qemu(call->bus, vm, &text, &call->problem);
        else
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "There is no format \"%.32s\"; there are \"json\", "
                                   "\"libvirt-xml\" and \"qemu-args\".",
                                   format);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", text);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}
METHOD(describe, describe);

/* ---- properties ---- */

static int append_functions(sd_bus_message *m, const Bus *bus, const Vm *vm) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(ssss)");
        for (size_t i = 0; i < vm->context.n_functions && r >= 0; i++) {
                const ContextFunction *f = vm->context.functions + i;

                r = sd_bus_message_append(m, "(ssss)", PCI_ADDRESS_STRING(&f->address),
                                          bus_iommu_name(bus, f->host_iommu),
                                          vm->context.tier == TIER_HARDWARE
                                                  ? GUEST_DEVICE_ID_STRING(f->guest_id)
                                                  : "",
                                          bus_function_state(bus, vm, f));
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_viommus(sd_bus_message *m, const Vm *vm) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "o");
        for (size_t i = 0; i < vm->context.n_viommus && r >= 0; i++)
                r = sd_bus_message_append(
                        m, "o", BUS_VIOMMU_PATH(vm->uuid, vm->context.viommus[i].host_iommu));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_charges(sd_bus_message *m, const Vm *vm) {
        _cleanup_(demand_set_done) DemandSet set = {};
        int r;

        r = receipt_get_demands(vm->receipt, &set);
        return r < 0 ? r : bus_append_demands(m, &set);
}

static const Vm *find_by_path(const Bus *bus, const char *path) {
        sd_id128_t uuid;

        return bus_path_parse_vm(path, &uuid, NULL) >= 0 && bus_path_is_vm(path)
                       ? manager_find_vm(bus->manager, uuid)
                       : NULL;
}

static int get_property(sd_bus *b, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;
        const Vm *vm = find_by_path(bus, path);

        (void)b, (void)interface, (void)error;
        if (!vm)
                return -ENOENT;
        if (streq(property, "Uuid"))
                return sd_bus_message_append(reply, "s", SD_ID128_TO_UUID_STRING(vm->uuid));
        if (streq(property, "Name"))
                return sd_bus_message_append(reply, "s", vm->name);
        if (streq(property, "Tier"))
                return sd_bus_message_append(reply, "s", vm_tier_to_string(vm->context.tier));
        if (streq(property, "Handover"))
                return sd_bus_message_append(reply, "s",
                                             vm_handover_to_string(vm->context.handover));
        if (streq(property, "State"))
                return sd_bus_message_append(reply, "s", vm_state_to_string(vm->state));
        if (streq(property, "StateReason"))
                return sd_bus_message_append(reply, "s", vm->state_reason);
        if (streq(property, "OwnerUid"))
                return sd_bus_message_append(reply, "u", (uint32_t)vm->owner_uid);
        if (streq(property, "Tenant"))
                return sd_bus_message_append(reply, "s", vm->tenant);
        if (streq(property, "Leash"))
                return sd_bus_message_append(reply, "s", leash_kind_to_string(vm->leash.kind));
        if (streq(property, "LeashDeadlineUSec"))
                return sd_bus_message_append(reply, "t", vm->leash.deadline_usec);
        if (streq(property, "Confirmed"))
                return sd_bus_message_append(reply, "b", vm->context.confirmed);
        if (streq(property, "Functions"))
                return append_functions(reply, bus, vm);
        if (streq(property, "Viommus"))
                return append_viommus(reply, vm);
        if (streq(property, "Charges"))
                return append_charges(reply, vm);
        if (streq(property, "MappedBytes"))
                return sd_bus_message_append(reply, "t", vm->context.mapped_bytes);
        assert(streq(property, "Operation"));
        return sd_bus_message_append(reply, "(stu)", vm->operation ? vm->operation->name : "",
                                     vm->operation ? vm->operation->started_usec : UINT64_C(0),
                                     (uint32_t)(vm->n_operations > 0 ? vm->n_operations - 1 : 0));
}

static int find_object(sd_bus *b, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *error) {
        sd_id128_t uuid;
        Problem p = {};

        (void)b, (void)interface;
        if (bus_path_parse_vm(path, &uuid, NULL) < 0 || !bus_path_is_vm(path))
                return 0;
        if (!find_by_path(userdata, path)) {
                (void)problem_set(&p, PROBLEM_NO_SUCH_VM, "There is no VM at %s (any more).", path);
                return bus_error_set(error, -ENOENT, &p);
        }
        *ret_found = userdata; /* the members find it again by its path */
        return 1;
}

#define PROPERTY(name, type, flags) SD_BUS_PROPERTY(name, type, get_property, 0, flags)
#define CONST_                      SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES                     SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

static const sd_bus_vtable vm_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("AttachDevice", SD_BUS_ARGS("s", function, "a{sv}", options),
                                SD_BUS_NO_RESULT, method_attach_device, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("DetachDevice", SD_BUS_ARGS("s", function), SD_BUS_NO_RESULT,
                                method_detach_device, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("CreateViommu", SD_BUS_ARGS("s", host_iommu),
                                SD_BUS_RESULT("o", viommu), method_create_viommu,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "MapMemory",
                SD_BUS_ARGS("h", file, "t", offset, "t", length, "t", iova, "u", flags),
                SD_BUS_NO_RESULT, method_map_memory, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("UnmapMemory", SD_BUS_ARGS("t", iova, "t", length),
                                SD_BUS_NO_RESULT, method_unmap_memory, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenContext", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("h", iommufd, "a{sv}", ids), method_open_context,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("OpenDevice", SD_BUS_ARGS("s", function),
                                SD_BUS_RESULT("h", device), method_open_device,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ConfirmContext", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT,
                                method_confirm_context, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetLeash", SD_BUS_ARGS("h", pidfd), SD_BUS_NO_RESULT,
                                method_set_leash, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Describe", SD_BUS_ARGS("s", format), SD_BUS_RESULT("s", text),
                                method_describe, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Destroy", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT,
                                method_destroy, SD_BUS_VTABLE_UNPRIVILEGED),
        PROPERTY("Uuid", "s", CONST_),
        PROPERTY("Name", "s", CONST_),
        PROPERTY("Tier", "s", CONST_),
        PROPERTY("Handover", "s", CONST_),
        PROPERTY("State", "s", CHANGES),
        PROPERTY("StateReason", "s", CHANGES),
        PROPERTY("OwnerUid", "u", CONST_),
        PROPERTY("Tenant", "s", CONST_),
        PROPERTY("Leash", "s", CHANGES),
        PROPERTY("LeashDeadlineUSec", "t", CHANGES),
        PROPERTY("Confirmed", "b", CHANGES),
        PROPERTY("Functions", "a(ssss)", CHANGES),
        PROPERTY("Viommus", "ao", CHANGES),
        PROPERTY("Charges", "a(sst)", CHANGES),
        PROPERTY("MappedBytes", "t", CHANGES),
        PROPERTY("Operation", "(stu)", CHANGES),
        SD_BUS_VTABLE_END,
};

int bus_vm_register(Bus *bus) {
        int r = sd_bus_add_fallback_vtable(bus->bus, NULL, BUS_PATH_VM, INTERFACE, vm_vtable,
                                           find_object, bus);

        return r < 0 ? r : 0;
}

void bus_vm_emit_changed(Bus *bus, const Vm *vm) {
        (void)sd_bus_emit_properties_changed(bus->bus, BUS_VM_PATH(vm->uuid), INTERFACE, "State",
                                             "StateReason", "Leash", "LeashDeadlineUSec",
                                             "Confirmed", "Functions", "Viommus", "Charges",
                                             "MappedBytes", "Operation", NULL);
}
