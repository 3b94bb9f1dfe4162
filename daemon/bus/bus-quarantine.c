/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The Manager's methods about what is quarantined, and the reports of an agent: see dbus/org.aviommu1.Manager.xml. */

#include <errno.h>

#include "bus/bus-objects.h"
#include "bus/bus-request.h"

#define LIST_MAX   1000
#define REPORT_MAX 32768

/* ---- ListQuarantined ---- */

typedef struct List {
        sd_bus_message *reply;
        size_t n;
        int r;
} List;

static void list_append(void *userdata, const Quarantined *q) {
        List *list = userdata;

        if (list->r < 0 || list->n++ >= LIST_MAX)
                return;
        list->r = sd_bus_message_append(list->reply, "(sss)", SD_ID128_TO_UUID_STRING(q->uuid),
                                        q->kind, q->reason);
}

static int list_quarantined(BusCall *call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        List list = {};
        int r;

        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sss)");
        if (r < 0)
                return r;
        list.reply = reply;
        manager_list_quarantined(call->bus->manager, list_append, &list);
        r = list.r < 0 ? list.r : sd_bus_message_close_container(reply);
        if (r < 0)
                return r;
        bus_call_reply(call, reply);
        return 0;
}

int bus_method_list_quarantined(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", list_quarantined, error);
}

/* ---- Reclaim ---- */

typedef struct Reclaim {
        BusCall *call;
        sd_bus_message *reply; /* as it will be when it is done */
} Reclaim;

static Reclaim *reclaim_free(Reclaim *reclaim) {
        if (reclaim)
                sd_bus_message_unref(reclaim->reply);
        free(reclaim);
        return NULL;
}
DEFINE_CLEANUP(Reclaim, reclaim_free);

static int append_functions(sd_bus_message *m, const Vm *vm) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "functions");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; i < vm->context.n_functions && r >= 0; i++)
                r = sd_bus_message_append(m, "s",
                                          PCI_ADDRESS_STRING(&vm->context.functions[i].address));
        for (unsigned i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_charges(sd_bus_message *m, const Vm *vm) {
        _cleanup_(demand_set_done) DemandSet set = {};
        int r;

        r = receipt_get_demands(vm->receipt, &set);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "charges");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sst)");
        if (r >= 0)
                r = bus_append_demands(m, &set);
        for (unsigned i = 0; i < 2 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

typedef struct Wanted {
        sd_id128_t uuid;
        sd_bus_message *reply;
        bool found;
        int r;
} Wanted;

static void append_wanted(void *userdata, const Quarantined *q) {
        Wanted *wanted = userdata;

        if (wanted->found || !sd_id128_equal(q->uuid, wanted->uuid))
                return;
        wanted->found = true;
        wanted->r = sd_bus_message_append(wanted->reply, "{sv}{sv}", "kind", "s", q->kind, "reason",
                                          "s", q->reason);
}

/* What is given up, as it is before. */
static int describe(BusCall *call, sd_id128_t uuid, const Vm *vm, sd_bus_message *reply) {
        Wanted wanted = { .uuid = uuid, .reply = reply };
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r < 0)
                return r;
        if (vm)
                append_wanted(&wanted, &(Quarantined){ uuid, "vm", vm->state_reason });
        else
                manager_list_quarantined(call->bus->manager, append_wanted, &wanted);
        r = wanted.r;
        if (r >= 0 && vm)
                r = append_functions(reply, vm);
        if (r >= 0 && vm)
                r = append_charges(reply, vm);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void on_reclaimed(void *userdata, int r, const Problem *problem) {
        _cleanup_(reclaim_freep) Reclaim *reclaim = userdata;

        if (r < 0)
                bus_call_fail(reclaim->call, r, problem);
        else
                bus_call_reply(reclaim->call, reclaim->reply);
}

/* One that is tried again at this moment, too. */
static bool may_be_reclaimed(const Vm *vm) {
        return vm->state == VM_QUARANTINED || vm->state == VM_DRAINING;
}

/* The VM that is meant, if there is one and no record in its place. */
static int find_vm(BusCall *call, sd_id128_t uuid, Vm **ret) {
        Vm *vm = manager_find_vm(call->bus->manager, uuid);

        if (vm && !may_be_reclaimed(vm) && !manager_has_kept_record(call->bus->manager, uuid))
                return problem_set(&call->problem, PROBLEM_WRONG_STATE,
                                   "VM %s is %s, not quarantined: destroy it instead.", vm->name,
                                   vm_state_to_string(vm->state));
        if (!vm && !manager_has_kept_record(call->bus->manager, uuid))
                return problem_set(
                        &call->problem, PROBLEM_NO_SUCH_VM,
                        "Nothing is quarantined under %s: ListQuarantined names what is.",
                        SD_ID128_TO_UUID_STRING(uuid));
        *ret = vm && may_be_reclaimed(vm) ? vm : NULL;
        return 0;
}

static int reclaim(BusCall *call) {
        _cleanup_(reclaim_freep) Reclaim *reclaim = new0(Reclaim, 1);
        sd_id128_t uuid;
        bool dry_run;
        Vm *vm = NULL;
        int r;

        if (!reclaim)
                return -ENOMEM;
        reclaim->call = call;
        r = bus_read_uuid(call->message, &uuid, &call->problem);
        if (r >= 0)
                r = bus_read_reclaim_options(call->message, &dry_run, &call->problem);
        if (r >= 0)
                r = find_vm(call, uuid, &vm);
        if (r >= 0)
                r = sd_bus_message_new_method_return(call->message, &reclaim->reply);
        if (r >= 0)
                r = describe(call, uuid, vm, reclaim->reply);
        if (r < 0)
                return r;
        if (dry_run) {
                bus_call_reply(call, reclaim->reply);
                return 0;
        }

        r = vm ? vm_reclaim(vm, bus_call_get_sender(call), on_reclaimed, reclaim, &call->problem)
               : manager_give_up_record(call->bus->manager, uuid, on_reclaimed, reclaim,
                                        &call->problem);
        if (r >= 0)
                TAKE_PTR(reclaim);
        return r;
}

int bus_method_reclaim(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start(userdata, m, "Manager", reclaim, error);
}

/* ---- ReportVms ---- */

static int report_vms(BusCall *call) {
        _cleanup_free_ sd_id128_t *uuids = NULL;
        size_t n = 0;
        int r;

        r = sd_bus_message_enter_container(call->message, 'a', "s");
        while (r >= 0) {
                sd_id128_t *grown;

                r = sd_bus_message_at_end(call->message, false);
                if (r != 0)
                        break;
                if (n >= REPORT_MAX)
                        return problem_set_amounts(&call->problem, PROBLEM_LIMITS_EXCEEDED, n + 1,
                                                   REPORT_MAX, "A report names at most %i VMs.",
                                                   REPORT_MAX);
                grown = reallocarray(uuids, n + 1, sizeof(*uuids));
                if (!grown)
                        return -ENOMEM;
                uuids = grown;
                r = bus_read_uuid(call->message, uuids + n++, &call->problem);
        }
        if (r < 0)
                return r;

        manager_report_vms(call->bus->manager, uuids, n);
        bus_call_reply(call, NULL);
        return 0;
}

int bus_method_report_vms(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_call_start_large(userdata, m, "Manager", report_vms, error);
}
