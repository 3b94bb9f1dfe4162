/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The Manager's methods about definitions: see dbus/org.aviommu1.Manager.xml. */

#include <errno.h>

#include "bus/bus-objects.h"
#include "bus/bus-path.h"
#include "bus/bus-request.h"

/* A call that waits for the disk or for a start. */
typedef struct Waiting {
        BusCall *call;
        sd_id128_t uuid;
} Waiting;

static Waiting *waiting_new(BusCall *call, sd_id128_t uuid) {
        Waiting *waiting = new0(Waiting, 1);

        if (waiting)
                *waiting = (Waiting){ call, uuid };
        return waiting;
}

/* Answers with what @type and @value say, or with the failure @r. */
static void answer(BusCall *call, int r, const Problem *problem, const char *type,
                   const char *value) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;

        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, type, value);
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

/* ---- DefineVm, ModifyDefinition ---- */

static void on_written(void *userdata, int r, const Problem *problem) {
        _cleanup_free_ Waiting *waiting = userdata;
        Manager *m = waiting->call->bus->manager;
        const Definition *d;
        Problem warning = {};

        d = r < 0 ? NULL : manager_find_definition(m, waiting->uuid);
        if (d)
                r = manager_warn_of_definition(m, d, &warning);
        answer(waiting->call, r, problem, "s", warning.text);
}

static int define_vm(BusCall *call) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        _cleanup_free_ Waiting *waiting = NULL;
        bool replace;
        int r;

        definition_request_init(&request);
        r = bus_read_definition(call->message, &request, &call->problem);
        if (r >= 0)
                r = bus_read_define_options(call->message, &replace, &call->problem);
        if (r < 0)
                return r;
        waiting = waiting_new(call, request.vm.uuid);
        if (!waiting)
                return -ENOMEM;
        r = manager_define_vm(call->bus->manager, &request, replace, call->uid, on_written, waiting,
                              &call->problem);
        if (r >= 0)
                TAKE_PTR(waiting);
        return r;
}

int bus_method_define_vm(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", define_vm, error);
}

static int modify_definition(BusCall *call) {
        _cleanup_(definition_request_done) DefinitionRequest request;
        _cleanup_free_ Waiting *waiting = NULL;
        int r;

        definition_request_init(&request);
        r = bus_read_definition_changes(call->message, &request, &call->problem);
        if (r < 0)
                return r;
        waiting = waiting_new(call, request.vm.uuid);
        if (!waiting)
                return -ENOMEM;
        r = manager_modify_definition(call->bus->manager, &request, on_written, waiting,
                                      &call->problem);
        if (r >= 0)
                TAKE_PTR(waiting);
        return r;
}

int bus_method_modify_definition(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", modify_definition, error);
}

/* ---- UndefineVm ---- */

static int undefine_vm(BusCall *call) {
        sd_id128_t uuid;
        int r;

        r = bus_read_uuid(call->message, &uuid, &call->problem);
        return r < 0 ? r
                     : manager_undefine_vm(call->bus->manager, uuid, bus_call_answer_empty, call,
                                           &call->problem);
}

int bus_method_undefine_vm(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", undefine_vm, error);
}

/* ---- StartDefinition ---- */

static void on_started(void *userdata, int r, const Problem *problem) {
        _cleanup_free_ Waiting *waiting = userdata;

        answer(waiting->call, r, problem, "o", BUS_VM_PATH(waiting->uuid));
}

static int start_definition(BusCall *call) {
        _cleanup_(vm_request_done) VmRequest leash;
        _cleanup_free_ Waiting *waiting = NULL;
        sd_id128_t uuid;
        int r;

        vm_request_init(&leash);
        r = bus_read_uuid(call->message, &uuid, &call->problem);
        if (r >= 0)
                r = bus_read_start_options(call->message, &leash, &call->problem);
        if (r < 0)
                return r;
        waiting = waiting_new(call, uuid);
        if (!waiting)
                return -ENOMEM;
        r = manager_start_definition(call->bus->manager, uuid, &leash, bus_call_get_sender(call),
                                     on_started, waiting, &call->problem);
        if (r >= 0)
                TAKE_PTR(waiting);
        return r;
}

int bus_method_start_definition(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", start_definition, error);
}

/* ---- GetDefinition ---- */

static int append_function(sd_bus_message *m, const FunctionRequest *f) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(&f->address));
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && f->has_guest_id)
                r = sd_bus_message_append(m, "{sv}", "guest-device-id", "s",
                                          GUEST_DEVICE_ID_STRING(f->guest_id));
        if (r >= 0 && f->has_vf_token) {
                sd_id128_t token;

                memcpy(token.bytes, f->vf_token, sizeof(token.bytes));
                r = sd_bus_message_append(m, "{sv}", "vf-token", "s",
                                          SD_ID128_TO_UUID_STRING(token));
        }
        if (r >= 0 && f->managed)
                r = sd_bus_message_append(m, "{sv}", "managed", "b", true);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_functions(sd_bus_message *m, const VmRequest *vm) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "functions");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sa{sv})");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sa{sv})");
        for (size_t i = 0; i < vm->n_functions && r >= 0; i++)
                r = append_function(m, vm->functions + i);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* What DefineVm takes, and nothing that it does not. */
static int append_definition(sd_bus_message *m, const Definition *d) {
        const VmRequest *vm = &d->vm;
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && vm->name)
                r = sd_bus_message_append(m, "{sv}", "name", "s", vm->name);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "tier", "s", vm_tier_to_string(vm->tier));
        if (r >= 0 && vm->has_handover)
                r = sd_bus_message_append(m, "{sv}", "handover", "s",
                                          vm_handover_to_string(vm->handover));
        if (r >= 0 && vm->tenant[0])
                r = sd_bus_message_append(m, "{sv}", "tenant", "s", vm->tenant);
        if (r >= 0 && vm->n_functions > 0)
                r = append_functions(m, vm);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "memory", "t", vm->memory);
        if (r >= 0 && vm->has_guest_domains)
                r = sd_bus_message_append(m, "{sv}", "guest-domains", "u", vm->guest_domains);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "autostart", "b", d->autostart);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int get_definition(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Definition *d;
        sd_id128_t uuid;
        int r;

        r = bus_read_uuid(call->message, &uuid, &call->problem);
        if (r >= 0)
                r = manager_get_definition(call->bus->manager, uuid, &d, &call->problem);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = append_definition(reply, d);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

int bus_method_get_definition(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", get_definition, error);
}

/* ---- ListDefinitions ---- */

static bool is_active(const Manager *m, const Definition *d) {
        const Vm *vm = manager_find_vm(m, d->vm.uuid);

        return vm && vm->owner_uid == d->vm.uid;
}

static const char *get_state(const Manager *m, const Definition *d) {
        if (d->verdict == RECORD_NEWER)
                return "newer";
        if (d->verdict != RECORD_GOOD)
                return "damaged";
        if (is_active(m, d))
                return "active";
        return d->reason[0] ? "refused" : "inactive";
}

static int append_row(sd_bus_message *m, const Manager *manager, const Definition *d) {
        bool good = d->verdict == RECORD_GOOD;
        const VmRequest *vm = &d->vm;
        int r;

        r = sd_bus_message_open_container(m, 'r', "ssubssssstas");
        if (r >= 0)
                r = sd_bus_message_append(
                        m, "ssubssssst", SD_ID128_TO_UUID_STRING(vm->uuid), strempty(vm->name),
                        (uint32_t)vm->uid, d->autostart, get_state(manager, d),
                        is_active(manager, d) ? "" : d->reason, /* of the start before */
                        good ? vm_tier_to_string(vm->tier) : "",
                        vm->has_handover ? vm_handover_to_string(vm->handover) : "", vm->tenant,
                        vm->memory);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < vm->n_functions && r >= 0; i++)
                r = sd_bus_message_append(m, "s", PCI_ADDRESS_STRING(&vm->functions[i].address));
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int list_definitions(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Manager *m = call->bus->manager;
        const Definition *d, *last = NULL;
        const char *cursor;
        sd_id128_t after;
        uint32_t limit;
        int r;

        r = bus_read_page(call, &cursor, &limit);
        if (r < 0)
                return r;
        if (*cursor && sd_id128_from_string(cursor, &after) < 0)
                return problem_set(&call->problem, PROBLEM_INVALID_ARGUMENT,
                                   "The cursor is what the page before gave as next, or empty.");
        d = manager_next_definition(m, *cursor ? &after : NULL);

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ssubssssstas)");
        for (; r >= 0 && d && limit > 0; limit--) {
                r = append_row(reply, m, d);
                last = d;
                d = manager_next_definition(m, &d->vm.uuid);
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s",
                                          last && d ? SD_ID128_TO_UUID_STRING(last->vm.uuid) : "");
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

int bus_method_list_definitions(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", list_definitions, error);
}
