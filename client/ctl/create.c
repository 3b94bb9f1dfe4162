/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl plan and create: one request, asked about or carried out.
 */
#include "ctl/ctl.h"
#include "ctl/render.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/reply.h"
#include "lib/table.h"

typedef struct Plan {
        bool is_admitted;
        const char *error, *message, *tier, *handover;
        uint64_t wanted, available;
        VmFunctionList functions;
        StringList viommus;
        ChargeList charges;
} Plan;

static const ReplyField plan_fields[] = {
        { "admitted", "b", offsetof(Plan, is_admitted), NULL },
        { "error", "s", offsetof(Plan, error), NULL },
        { "message", "s", offsetof(Plan, message), NULL },
        { "wanted", "t", offsetof(Plan, wanted), NULL },
        { "available", "t", offsetof(Plan, available), NULL },
        { "tier", "s", offsetof(Plan, tier), NULL },
        { "handover", "s", offsetof(Plan, handover), NULL },
        { "functions", "a(ssss)", offsetof(Plan, functions), reply_read_vm_functions },
        { "viommus", "as", offsetof(Plan, viommus), reply_read_strings },
        { "charges", "a(sst)", offsetof(Plan, charges), reply_read_charges },
};

static void plan_done(Plan *p) {
        vm_function_list_done(&p->functions);
        string_list_done(&p->viommus);
        charge_list_done(&p->charges);
}

/* The UUID that the argument is, or a new one for "new". */
static int take_uuid(Ctl *ctl, const char *argument, char ret[static UUID_STRING_SIZE]) {
        int r;

        if (!streq(argument, "new"))
                return ctl_parse_uuid(ctl, argument, ret);

        r = uuid_random(ret);
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                   "The kernel gives no random numbers");
        return 0;
}

static int call_with_request(Ctl *ctl, const char *member, const CallOptions *options,
                             sd_bus_message **ret_reply) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (ctl->request.is_held && (ctl->request.leash_pidfd >= 0 || ctl->request.is_reported))
                return ctl_usage(ctl, "--hold and --leash= exclude each other");

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, member, &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", options->uuid);
        if (r >= 0)
                r = request_append(&ctl->request, m);
        if (r == -EINVAL)
                return ctl_usage(ctl, "A name, tier or handover is not a text in UTF-8");
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);
        return client_call(&ctl->client, m, options, ret_reply, &ctl->failure);
}

static void plan_json(const Plan *p, const char *uuid, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *viommus = doc_new_array();

        doc_add_string(d, "uuid", uuid);
        doc_add_bool(d, "admitted", p->is_admitted);
        doc_add_string(d, "error", p->error && *p->error ? p->error : NULL);
        doc_add_string(d, "message", p->message && *p->message ? p->message : NULL);
        doc_add_number(d, "wanted", p->wanted);
        doc_add_number(d, "available", p->available);
        doc_add_string(d, "tier", p->tier);
        doc_add_string(d, "handover", p->handover);
        doc_add(d, "functions", vm_functions_to_doc(&p->functions, "group"));
        for (size_t i = 0; i < p->viommus.n; i++)
                doc_add_string(viommus, NULL, p->viommus.items[i]);
        doc_add(d, "viommus", viommus);
        doc_add(d, "charges", charges_to_doc(&p->charges));
        output_doc(o, d);
}

static void print_plan(const Plan *p, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);
        _cleanup_free_ char *viommus = string_list_join(&p->viommus);

        TABLE_ADD(t, "Admitted:", p->is_admitted ? "yes" : "no");
        table_colour(t, 1, p->is_admitted ? TABLE_GOOD : TABLE_BAD);
        TABLE_ADD(t, "Tier:", cell_or_dash(p->tier));
        TABLE_ADD(t, "Handover:", cell_or_dash(p->handover));
        TABLE_ADD(t, "vIOMMUs on:", viommus);
        table_print(t, o);

        if (p->functions.n > 0) {
                output_printf(o, "\n");
                print_vm_functions(&p->functions, "GROUP", o);
        }
        if (p->charges.n > 0) {
                output_printf(o, "\n");
                print_charges(&p->charges, o);
        }
}

int verb_plan(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = { .what = "planning", .uuid = uuid };
        _cleanup_(plan_done) Plan p = {};
        int r;

        (void)argc;

        r = take_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        r = call_with_request(ctl, "Plan", &options, &m);
        if (r < 0)
                return r;
        r = reply_read_fields(m, plan_fields, ELEMENTSOF(plan_fields), &p);
        if (r < 0)
                return failure_set_malformed(&ctl->failure, "Plan");

        if (ctl->out.json != JSON_OFF)
                plan_json(&p, uuid, &ctl->out);
        else
                print_plan(&p, &ctl->out);

        if (!p.is_admitted) {
                FailureSubject subject = { .uuid = uuid };
                _cleanup_free_ char *name = NULL;

                /* "NoFreeInstance" and the whole name are both taken. */
                name = alloc_printf("%s%s",
                                    strchr(strempty(p.error), '.') ? "" : AVIOMMU_ERROR_PREFIX,
                                    strempty(p.error));
                return failure_set_bus(&ctl->failure, name, p.message, &subject);
        }
        return 0;
}

static int read_u64(sd_bus_message *m, uint64_t *ret) {
        int r;

        r = sd_bus_message_enter_container(m, 'v', "t");
        if (r < 0)
                return r;
        return sd_bus_message_read_basic(m, 't', ret);
}

/* How long the VM has got to live without a leash. Returns 0, or a negative errno when it cannot be found out. */
static int leash_deadline(Ctl *ctl, const char *path, uint64_t *ret_left_usec) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        uint64_t deadline, now;
        Failure ignored;
        int r;

        r = client_new_call(&ctl->client, path, DBUS_PROPERTIES_INTERFACE, "Get", &m, &ignored);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ss", AVIOMMU_VM_INTERFACE, "LeashDeadlineUSec");
        if (r < 0)
                return r;
        r = client_call(&ctl->client, m, NULL, &reply, &ignored);
        if (r < 0)
                return r;
        r = read_u64(reply, &deadline);
        if (r < 0)
                return r;

        now = now_usec();
        *ret_left_usec = deadline > now ? deadline - now : 0;
        return deadline == 0 ? -ENODATA : 0;
}

static void warn_of_no_leash(Ctl *ctl, const char *uuid, const char *path) {
        uint64_t left_usec;
        int r;

        if (ctl->quiet)
                return;
        r = leash_deadline(ctl, path, &left_usec);
        if (r == -ENODATA) /* it has a leash */
                return;
        ctl_notice(ctl,
                   "The VM hangs on nothing yet: it is taken down again unless `aviommuctl leash "
                   "%s PID` follows within %s.",
                   uuid, r < 0 ? "the daemon's AdmissionTimeoutSec=" : FORMAT_DURATION(left_usec));
}

int verb_create(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = {
                .what = "creating the VM", .uuid = uuid, .is_change = true, .can_be_stopped = true
        };
        const char *path;
        int r;

        (void)argc;

        r = take_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        if (ctl->request.is_held) {
                r = hold_prepare(ctl, uuid);
                if (r < 0)
                        return r;
        }
        r = call_with_request(ctl, "CreateVm", &options, &m);
        if (r < 0)
                return r;
        if (sd_bus_message_read(m, "o", &path) < 0)
                return failure_set_malformed(&ctl->failure, "CreateVm");

        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "done", ctl->verb);
                doc_add_string(d, "uuid", uuid);
                doc_add_string(d, "path", path);
                output_doc(&ctl->out, d);
        } else if (!ctl->quiet || streq(argv[0], "new"))
                output_printf(&ctl->out, "%s\n", uuid);
        r = output_flush_line(&ctl->out, &ctl->failure);
        if (r < 0)
                return r;

        if (ctl->request.is_held)
                return hold_vm(ctl, uuid);
        if (ctl->request.leash_pidfd < 0 && !ctl->request.is_reported)
                warn_of_no_leash(ctl, uuid, path);
        return 0;
}
