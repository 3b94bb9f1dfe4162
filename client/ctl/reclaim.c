/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl reclaim: what could not be shown to be gone, and giving it up.
 */
#include "ctl/ctl.h"
#include "ctl/render.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/table.h"

#define REASON_WIDTH 20U /* with fewer columns it is no sentence any more */

typedef struct Quarantined {
        const char *uuid, *kind, *reason;
} Quarantined;

typedef struct QuarantinedList {
        sd_bus_message *message;
        Quarantined *items;
        size_t n;
} QuarantinedList;

typedef struct GivenUp {
        const char *kind, *reason;
        StringList functions;
        ChargeList charges;
} GivenUp;

static const ReplyField given_up_fields[] = {
        { "kind", "s", offsetof(GivenUp, kind), NULL },
        { "reason", "s", offsetof(GivenUp, reason), NULL },
        { "functions", "as", offsetof(GivenUp, functions), reply_read_strings },
        { "charges", "a(sst)", offsetof(GivenUp, charges), reply_read_charges },
};

/* ---- the list ---- */

static void quarantined_list_done(QuarantinedList *l) {
        free(l->items);
        (void)sd_bus_message_unref(l->message);
}

static int read_one(sd_bus_message *m, void *userdata) {
        QuarantinedList *l = userdata;
        Quarantined q;
        int r;

        r = sd_bus_message_read(m, "(sss)", &q.uuid, &q.kind, &q.reason);
        if (r < 0)
                return r;
        l->items = alloc_grow(l->items, l->n, sizeof(Quarantined));
        l->items[l->n++] = q;
        return 0;
}

static int quarantined_read(Ctl *ctl, QuarantinedList *l) {
        static const CallOptions options = { .what = "asking for what is quarantined" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE,
                            "ListQuarantined", &m, &ctl->failure);
        if (r < 0)
                return r;
        r = client_call(&ctl->client, m, &options, &l->message, &ctl->failure);
        if (r < 0)
                return r;
        if (reply_read_array(l->message, "(sss)", read_one, l) < 0)
                return failure_set_malformed(&ctl->failure, "ListQuarantined");
        return 0;
}

int ctl_count_quarantined(Ctl *ctl, size_t *ret) {
        _cleanup_(quarantined_list_done) QuarantinedList l = {};
        int r;

        r = quarantined_read(ctl, &l);
        if (r >= 0)
                *ret = l.n;
        return r;
}

static void list_json(const QuarantinedList *l, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                Doc *x = doc_new_object();

                doc_add_string(x, "uuid", l->items[i].uuid);
                doc_add_string(x, "kind", l->items[i].kind);
                doc_add_string(x, "reason", l->items[i].reason);
                doc_add(array, NULL, x);
        }
        doc_add(d, "quarantined", array);
        output_doc(o, d);
}

/* On a terminal with room for hardly more than a UUID, each reason is below its own. */
static void print_narrow_list(const QuarantinedList *l, Output *o) {
        static const TableColumn column = { "QUARANTINED", TABLE_WRAP };
        _cleanup_(table_freep) Table *t = table_new(&column, 1, true);

        for (size_t i = 0; i < l->n; i++) {
                TABLE_ADD(t, l->items[i].uuid);
                TABLE_ADD(t, cell_or_dash(l->items[i].reason));
        }
        table_print(t, o);
}

static void print_list(const QuarantinedList *l, Output *o) {
        static const TableColumn columns[] = { { "UUID", 0 },
                                               { "KIND", TABLE_TRUNC | TABLE_LESS },
                                               { "REASON", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++)
                TABLE_ADD(t, l->items[i].uuid, l->items[i].kind, cell_or_dash(l->items[i].reason));
        table_print(t, o);
}

static int list(Ctl *ctl) {
        _cleanup_(quarantined_list_done) QuarantinedList l = {};
        int r;

        r = quarantined_read(ctl, &l);
        if (r < 0)
                return r;
        if (ctl->out.json != JSON_OFF)
                list_json(&l, &ctl->out);
        else if (l.n > 0 && ctl->out.is_tty && ctl->out.columns < UUID_STRING_SIZE + REASON_WIDTH)
                print_narrow_list(&l, &ctl->out);
        else if (l.n > 0)
                print_list(&l, &ctl->out);
        else
                ctl_notice(ctl, "Nothing is quarantined.");
        return 0;
}

/* ---- giving up ---- */

static void given_up_done(GivenUp *g) {
        string_list_done(&g->functions);
        charge_list_done(&g->charges);
}

static int call_reclaim(Ctl *ctl, const char *uuid, sd_bus_message **ret_reply) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = "reclaiming", .uuid = uuid, .is_change = !ctl->is_dry_run };
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "Reclaim", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        if (ctl->is_dry_run)
                r = sd_bus_message_append(m, "sa{sv}", uuid, 1, "dry-run", "b", true);
        else
                r = sd_bus_message_append(m, "sa{sv}", uuid, 0);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);

        r = client_call(&ctl->client, m, &options, ret_reply, &ctl->failure);
        if (r < 0 &&
            (streq(ctl->failure.name, "NoSuchVm") || streq(ctl->failure.name, "WrongState")))
                (void)snprintf(ctl->failure.next, sizeof(ctl->failure.next),
                               "`aviommuctl reclaim` lists what is quarantined.");
        return r;
}

static void given_up_json(const Ctl *ctl, const GivenUp *g, const char *uuid, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();

        if (!ctl->is_dry_run)
                doc_add_string(d, "done", ctl->verb);
        doc_add_string(d, "uuid", uuid);
        doc_add_bool(d, "dry_run", ctl->is_dry_run);
        doc_add_string(d, "kind", g->kind);
        doc_add_string(d, "reason", g->reason);
        doc_add_strings(d, "functions", g->functions.items, g->functions.n);
        doc_add(d, "charges", charges_to_doc(&g->charges));
        output_doc(o, d);
}

static void print_given_up(const Ctl *ctl, const GivenUp *g, const char *uuid, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);
        _cleanup_free_ char *functions = string_list_join(&g->functions);

        TABLE_ADD(t, ctl->is_dry_run ? "Would give up:" : "Gave up:", uuid);
        TABLE_ADD(t, "Kind:", g->kind);
        TABLE_ADD(t, "Reason:", cell_or_dash(g->reason));
        if (g->functions.n > 0)
                TABLE_ADD(t, "Functions:", functions);
        table_print(t, o);

        if (g->charges.n > 0) {
                output_printf(o, "\n");
                print_charges(&g->charges, o);
        }
}

int verb_reclaim(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(given_up_done) GivenUp g = {};
        char uuid[UUID_STRING_SIZE];
        int r;

        if (argc == 0)
                return ctl->is_dry_run ? ctl_usage(ctl, "--dry-run wants a VM") : list(ctl);

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r >= 0)
                r = call_reclaim(ctl, uuid, &m);
        if (r < 0)
                return r;
        if (reply_read_fields(m, given_up_fields, ELEMENTSOF(given_up_fields), &g) < 0 || !g.kind)
                return failure_set_malformed(&ctl->failure, "Reclaim");

        if (ctl->out.json != JSON_OFF)
                given_up_json(ctl, &g, uuid, &ctl->out);
        else if (!ctl->quiet || ctl->is_dry_run)
                print_given_up(ctl, &g, uuid, &ctl->out);
        return 0;
}
