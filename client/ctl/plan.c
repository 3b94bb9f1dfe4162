/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/plan.h"

#include <errno.h>

#include "ctl/render.h"
#include "lib/alloc.h"
#include "lib/table.h"

static int read_limit(sd_bus_message *m, void *userdata) {
        PlanLimitList *l = userdata;
        PlanLimit x;
        int r;

        r = sd_bus_message_read(m, "(sssttt)", &x.section, &x.key, &x.scope, &x.limit, &x.used,
                                &x.wanted);
        if (r < 0)
                return r;
        l->items = alloc_grow(l->items, l->n, sizeof(PlanLimit));
        l->items[l->n++] = x;
        return 0;
}

static int read_limits(sd_bus_message *m, void *limits) {
        return reply_read_array(m, "(sssttt)", read_limit, limits);
}

static const ReplyField plan_fields[] = {
        { "admitted", "b", offsetof(Plan, is_admitted), NULL },
        { "error", "s", offsetof(Plan, error), NULL },
        { "message", "s", offsetof(Plan, text), NULL },
        { "wanted", "t", offsetof(Plan, wanted), NULL },
        { "available", "t", offsetof(Plan, available), NULL },
        { "tier", "s", offsetof(Plan, tier), NULL },
        { "handover", "s", offsetof(Plan, handover), NULL },
        { "functions", "a(ssss)", offsetof(Plan, functions), reply_read_vm_functions },
        { "viommus", "as", offsetof(Plan, viommus), reply_read_strings },
        { "charges", "a(sst)", offsetof(Plan, charges), reply_read_charges },
        { "limits", "a(sssttt)", offsetof(Plan, limits), read_limits },
};

void plan_done(Plan *p) {
        vm_function_list_done(&p->functions);
        string_list_done(&p->viommus);
        charge_list_done(&p->charges);
        free(p->limits.items);
        p->limits = (PlanLimitList){};
        p->message = sd_bus_message_unref(p->message);
}

int ctl_call_with_request(Ctl *ctl, const char *member, const CallOptions *options,
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

int plan_ask(Ctl *ctl, const char *uuid, Plan *ret) {
        CallOptions options = { .what = "planning", .uuid = uuid };
        _cleanup_(plan_done) Plan p = {};
        int r;

        r = ctl_call_with_request(ctl, "Plan", &options, &p.message);
        if (r < 0)
                return r;
        r = reply_read_fields(p.message, plan_fields, ELEMENTSOF(plan_fields), &p);
        if (r < 0)
                return failure_set_malformed(&ctl->failure, "Plan");
        *ret = p;
        p = (Plan){};
        return 0;
}

static void plan_json(const Plan *p, const char *uuid, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();

        doc_add_string(d, "uuid", uuid);
        doc_add_bool(d, "admitted", p->is_admitted);
        doc_add_string(d, "error", p->error && *p->error ? p->error : NULL);
        doc_add_string(d, "message", p->text && *p->text ? p->text : NULL);
        doc_add_number(d, "wanted", p->wanted);
        doc_add_number(d, "available", p->available);
        doc_add_string(d, "tier", p->tier);
        doc_add_string(d, "handover", p->handover);
        doc_add(d, "functions", vm_functions_to_doc(&p->functions, "group"));
        doc_add_strings(d, "viommus", p->viommus.items, p->viommus.n);
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

void plan_show(const Plan *p, const char *uuid, Output *o) {
        if (o->json != JSON_OFF)
                plan_json(p, uuid, o);
        else
                print_plan(p, o);
}

/* "NoFreeInstance" and the whole name are both taken. */
const char *plan_error(const Plan *p) {
        size_t n = strlen(AVIOMMU_ERROR_PREFIX);
        const char *name = strempty(p->error);

        return strncmp(name, AVIOMMU_ERROR_PREFIX, n) == 0 ? name + n : name;
}

int plan_refused(Ctl *ctl, const Plan *p, const char *uuid) {
        FailureSubject subject = { .uuid = uuid };
        _cleanup_free_ char *name = NULL;

        name = alloc_printf("%s%s", strchr(plan_error(p), '.') ? "" : AVIOMMU_ERROR_PREFIX,
                            plan_error(p));
        return failure_set_bus(&ctl->failure, name, p->text, &subject);
}
