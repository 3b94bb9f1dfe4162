/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* /org/aviommu1, org.aviommu1.Manager: see dbus/org.aviommu1.Manager.xml for what each member means. */

#include <errno.h>
#include <stdio.h>

#include "bus/bus-error.h"
#include "bus/bus-objects.h"
#include "bus/bus-path.h"
#include "bus/bus-request.h"

/* ---- CreateVm ---- */

typedef struct CreateCall {
        BusCall *call;
        sd_id128_t uuid;
} CreateCall;

static void on_created(void *userdata, int r, const Problem *problem) {
        CreateCall *create = userdata;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        BusCall *call = create->call;

        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", BUS_VM_PATH(create->uuid));
        free(create);
        if (r < 0)
                bus_call_fail(call, r, problem);
        else
                bus_call_reply(call, reply);
}

static int create_vm(BusCall *call) {
        _cleanup_(vm_request_done) VmRequest request;
        _cleanup_free_ CreateCall *create = new0(CreateCall, 1);
        int r;

        vm_request_init(&request);
        if (!create)
                return -ENOMEM;
        r = bus_read_vm_request(call->message, &request, &call->problem);
        if (r >= 0)
                r = bus_call_name_groups(call, &request);
        if (r < 0)
                return r;

        *create = (CreateCall){ .call = call, .uuid = request.uuid };
        r = manager_create_vm(call->bus->manager, &request, call->uid, bus_call_get_sender(call),
                              on_created, create, &call->problem);
        if (r >= 0)
                TAKE_PTR(create);
        return r;
}

static int method_create_vm(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", create_vm, error);
}

/* ---- Plan ---- */

static int append_key(sd_bus_message *m, const char *key, const char *type,
                      int (*append)(sd_bus_message *, void *), void *userdata) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0)
                r = append(m, userdata);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

typedef struct PlanReply {
        const Bus *bus;
        const Admission *admission;
        const QuotaRules *rules;
} PlanReply;

static int append_plan_limits(sd_bus_message *m, void *userdata) {
        const PlanReply *plan = userdata;
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sssttt)");
        for (size_t i = 0; i < plan->rules->n_rules && r >= 0; i++) {
                const QuotaRule *rule = plan->rules->rules + i;

                r = sd_bus_message_append(m, "(sssttt)", rule->section, rule->key, rule->scope,
                                          rule->limit, rule->used, rule->wanted);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_plan_functions(sd_bus_message *m, void *userdata) {
        const PlanReply *plan = userdata;
        const VmContext *ctx = &plan->admission->additions;
        int r;

        r = sd_bus_message_open_container(m, 'a', "(ssss)");
        for (size_t i = 0; i < ctx->n_functions && r >= 0; i++) {
                const ContextFunction *f = ctx->functions + i;
                char group[16];

                (void)snprintf(group, sizeof(group), "%u", f->group);
                r = sd_bus_message_append(
                        m, "(ssss)", PCI_ADDRESS_STRING(&f->address),
                        bus_iommu_name(plan->bus, f->host_iommu),
                        ctx->tier == TIER_HARDWARE ? GUEST_DEVICE_ID_STRING(f->guest_id) : "",
                        group);
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_plan_viommus(sd_bus_message *m, void *userdata) {
        const PlanReply *plan = userdata;
        const VmContext *ctx = &plan->admission->additions;
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < ctx->n_viommus && r >= 0; i++)
                r = sd_bus_message_append(m, "s",
                                          bus_iommu_name(plan->bus, ctx->viommus[i].host_iommu));
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_plan_charges(sd_bus_message *m, void *userdata) {
        const PlanReply *plan = userdata;

        return bus_append_demands(m, &plan->admission->demands);
}

static int append_verdict(sd_bus_message *m, const VmRequest *request, const Problem *p) {
        char name[BUS_ERROR_NAME_SIZE];
        int r;

        r = sd_bus_message_append(m, "{sv}", "admitted", "b", !problem_is_set(p));
        if (r >= 0 && request->has_tier)
                r = sd_bus_message_append(m, "{sv}", "tier", "s", vm_tier_to_string(request->tier));
        if (r >= 0 && request->has_handover)
                r = sd_bus_message_append(m, "{sv}", "handover", "s",
                                          vm_handover_to_string(request->handover));
        if (r >= 0 && problem_is_set(p))
                r = sd_bus_message_append(m, "{sv}{sv}", "error", "s",
                                          bus_error_name(p->kind, name), "message", "s", p->text);
        if (r >= 0 && problem_is_set(p) && (p->wanted || p->available))
                r = sd_bus_message_append(m, "{sv}{sv}", "wanted", "t", p->wanted, "available", "t",
                                          p->available);
        return r;
}

static int plan(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(vm_request_done) VmRequest request;
        _cleanup_(admission_done) Admission admission = ADMISSION_NULL;
        _cleanup_(quota_rules_done) QuotaRules rules = {};
        PlanReply plan_reply = { .bus = call->bus, .admission = &admission, .rules = &rules };
        Problem p = {};
        int r;

        vm_request_init(&request);
        r = bus_read_vm_request(call->message, &request, &call->problem);
        if (r >= 0)
                r = bus_call_name_groups(call, &request);
        if (r < 0)
                return r;
        r = manager_plan_vm(call->bus->manager, &request, call->uid, &admission, &rules, &p);
        if (r < 0 && !problem_is_set(&p))
                return r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = append_verdict(reply, &request, &p);
        if (r >= 0 && !problem_is_set(&p)) {
                r = append_key(reply, "functions", "a(ssss)", append_plan_functions, &plan_reply);
                if (r >= 0)
                        r = append_key(reply, "viommus", "as", append_plan_viommus, &plan_reply);
                if (r >= 0)
                        r = append_key(reply, "charges", "a(sst)", append_plan_charges,
                                       &plan_reply);
        }
        if (r >= 0 && rules.n_rules > 0)
                r = append_key(reply, "limits", "a(sssttt)", append_plan_limits, &plan_reply);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

static int method_plan(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", plan, error);
}

/* ---- Reload ---- */

static int reload(BusCall *call) {
        int r;

        r = manager_reload(call->bus->manager, &call->problem);
        if (r < 0)
                return r;
        bus_call_reply(call, NULL);
        return 0;
}

static int method_reload(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", reload, error);
}

/* ---- GetVm, GetVmByName ---- */

static int reply_vm(BusCall *call, const Vm *vm, const char *wanted) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        if (!vm)
                return problem_set(
                        &call->problem, PROBLEM_NO_SUCH_VM,
                        "There is no VM \"%.128s\"; 'aviommuctl list' shows those there are.",
                        wanted);
        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", BUS_VM_PATH(vm->uuid));
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

static int get_vm(BusCall *call) {
        sd_id128_t uuid;
        int r;

        r = bus_read_uuid(call->message, &uuid, &call->problem);
        return r < 0 ? r
                     : reply_vm(call, manager_find_vm(call->bus->manager, uuid),
                                SD_ID128_TO_UUID_STRING(uuid));
}

static int method_get_vm(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", get_vm, error);
}

static int get_vm_by_name(BusCall *call) {
        const char *name;
        int r;

        r = sd_bus_message_read(call->message, "s", &name);
        return r < 0 ? r : reply_vm(call, manager_find_vm_by_name(call->bus->manager, name), name);
}

static int method_get_vm_by_name(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", get_vm_by_name, error);
}

/* ---- properties ---- */

static int get_version(sd_bus *b, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        (void)b, (void)path, (void)interface, (void)property, (void)userdata, (void)error;
        return sd_bus_message_append(reply, "s", AVIOMMU_VERSION);
}

static int get_kernel(sd_bus *b, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;

        (void)b, (void)path, (void)interface, (void)property, (void)error;
        return sd_bus_message_append(reply, "s", bus->manager->kernel->ops->name);
}

static int get_kernel_level(sd_bus *b, const char *path, const char *interface,
                            const char *property, sd_bus_message *reply, void *userdata,
                            sd_bus_error *error) {
        const Bus *bus = userdata;

        (void)b, (void)path, (void)interface, (void)property, (void)error;
        return sd_bus_message_append(
                reply, "s", kernel_level_to_string(inventory_best_level(bus->manager->inventory)));
}

static int get_tiers(sd_bus *b, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;
        const AdmissionView view = { .inventory = bus->manager->inventory,
                                     .config = &bus->manager->config };
        int r;

        (void)b, (void)path, (void)interface, (void)property, (void)error;
        r = sd_bus_message_open_container(reply, 'a', "(sbs)");
        for (VmTier tier = 0; tier < _TIER_MAX && r >= 0; tier++) {
                Problem p = {};
                int q = admission_check_tier(
                        &view, tier, tier == TIER_HARDWARE ? HANDOVER_DAEMON : HANDOVER_VMM, &p);

                if (q < 0 && !problem_is_set(&p))
                        return q;
                r = sd_bus_message_append(reply, "(sbs)", vm_tier_to_string(tier), q >= 0, p.text);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_problems(sd_bus *b, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;
        char **problems;
        int r;

        (void)b, (void)path, (void)interface, (void)property, (void)error;
        r = inventory_describe_problems(bus->manager->inventory, &problems);
        if (r < 0)
                return r;
        r = sd_bus_message_append_strv(reply, problems);
        inventory_problems_free(problems);
        return r;
}

static int get_resources(sd_bus *b, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Bus *bus = userdata;

        (void)b, (void)path, (void)interface, (void)property, (void)error;
        return bus_append_resources(reply, bus->manager->ledger, NULL, NULL);
}

static int get_count(sd_bus *b, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = ((const Bus *)userdata)->manager;
        const HostScan *scan = inventory_get_scan(m->inventory);
        size_t n = 0;

        (void)b, (void)path, (void)interface, (void)error;
        if (streq(property, "NVms"))
                n = m->n_vms;
        else if (streq(property, "NReservations"))
                n = m->n_reservations;
        else if (streq(property, "NHostIommus"))
                n = scan->n_iommus;
        else
                for (size_t i = 0; i < scan->n_functions; i++)
                        n += !scan->functions[i].is_bridge;
        return sd_bus_message_append(reply, "u", (uint32_t)n);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("CreateVm", SD_BUS_ARGS("s", uuid, "a{sv}", request),
                                SD_BUS_RESULT("o", vm), method_create_vm,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Plan", SD_BUS_ARGS("s", uuid, "a{sv}", request),
                                SD_BUS_RESULT("a{sv}", plan), method_plan,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("PrepareContext", SD_BUS_ARGS("s", uuid),
                                SD_BUS_RESULT("h", iommufd), bus_method_prepare_context,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ForgetContext", SD_BUS_ARGS("s", uuid), SD_BUS_NO_RESULT,
                                bus_method_forget_context, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Reserve", SD_BUS_ARGS("a{sv}", request, "t", ttl_usec),
                                SD_BUS_RESULT("s", token), bus_method_reserve,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Unreserve", SD_BUS_ARGS("s", token), SD_BUS_NO_RESULT,
                                bus_method_unreserve, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListReservations", SD_BUS_ARGS("s", cursor, "u", limit),
                                SD_BUS_RESULT("a(sutssasa(sst))", reservations, "s", next),
                                bus_method_list_reservations, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS(
                "DefineVm", SD_BUS_ARGS("s", uuid, "a{sv}", definition, "a{sv}", options),
                SD_BUS_RESULT("s", warning), bus_method_define_vm, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ModifyDefinition", SD_BUS_ARGS("s", uuid, "a{sv}", changes),
                                SD_BUS_RESULT("s", warning), bus_method_modify_definition,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("UndefineVm", SD_BUS_ARGS("s", uuid), SD_BUS_NO_RESULT,
                                bus_method_undefine_vm, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("StartDefinition", SD_BUS_ARGS("s", uuid, "a{sv}", options),
                                SD_BUS_RESULT("o", vm), bus_method_start_definition,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetDefinition", SD_BUS_ARGS("s", uuid),
                                SD_BUS_RESULT("a{sv}", definition), bus_method_get_definition,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListDefinitions", SD_BUS_ARGS("s", cursor, "u", limit),
                                SD_BUS_RESULT("a(ssubssssstas)", definitions, "s", next),
                                bus_method_list_definitions, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetVm", SD_BUS_ARGS("s", uuid), SD_BUS_RESULT("o", vm),
                                method_get_vm, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetVmByName", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", vm),
                                method_get_vm_by_name, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListVms", SD_BUS_ARGS("s", cursor, "u", limit),
                                SD_BUS_RESULT("a(sssssuo)", vms, "s", next), bus_method_list_vms,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListVmDetails", SD_BUS_ARGS("s", cursor, "u", limit),
                                SD_BUS_RESULT("a(sssssuoa{sv})", vms, "s", next),
                                bus_method_list_vm_details, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListFunctions", SD_BUS_ARGS("s", cursor, "u", limit),
                                SD_BUS_RESULT("a(sssuissa{sv})", functions, "s", next),
                                bus_method_list_functions, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListQuarantined", SD_BUS_NO_ARGS,
                                SD_BUS_RESULT("a(sss)", quarantined), bus_method_list_quarantined,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Reclaim", SD_BUS_ARGS("s", uuid, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", given_up), bus_method_reclaim,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ReportVms", SD_BUS_ARGS("as", uuids), SD_BUS_NO_RESULT,
                                bus_method_report_vms, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("VmAdded", SD_BUS_ARGS("s", uuid, "o", vm), 0),
        SD_BUS_SIGNAL_WITH_ARGS("VmRemoved", SD_BUS_ARGS("s", uuid, "o", vm, "s", reason), 0),
        SD_BUS_SIGNAL_WITH_ARGS("VmChanged", SD_BUS_ARGS("s", uuid, "o", vm), 0),
        SD_BUS_SIGNAL("CapacityChanged", "", 0),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Kernel", "s", get_kernel, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("KernelLevel", "s", get_kernel_level, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Tiers", "a(sbs)", get_tiers, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Problems", "as", get_problems, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Resources", "a(sstt)", get_resources, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("NVms", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("NReservations", "u", get_count, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("NFunctions", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("NHostIommus", "u", get_count, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int bus_manager_register(Bus *bus) {
        int r = sd_bus_add_object_vtable(bus->bus, NULL, BUS_PATH, BUS_NAME ".Manager",
                                         manager_vtable, bus);

        return r < 0 ? r : 0;
}

void bus_manager_emit_host_changed(Bus *bus) {
        (void)sd_bus_emit_properties_changed(bus->bus, BUS_PATH, BUS_NAME ".Manager", "KernelLevel",
                                             "Tiers", "Problems", "NFunctions", "NHostIommus",
                                             NULL);
}

void bus_manager_emit_capacity_changed(Bus *bus) {
        (void)sd_bus_emit_signal(bus->bus, BUS_PATH, BUS_NAME ".Manager", "CapacityChanged", NULL);
        (void)sd_bus_emit_properties_changed(bus->bus, BUS_PATH, BUS_NAME ".Manager", "Resources",
                                             "NVms", "NReservations", NULL);
}
