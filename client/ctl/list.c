/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl list: the VMs, page by page.
 */
#include "ctl/ctl.h"
#include "ctl/survey.h"

#include <inttypes.h>

#include "lib/format.h"
#include "lib/table.h"

static void vms_json(const VmRows *l, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                const VmRow *v = &l->items[i];
                Doc *x = doc_new_object();

                doc_add_string(x, "uuid", v->uuid);
                doc_add_string(x, "name", v->name);
                doc_add_string(x, "tier", v->tier);
                doc_add_string(x, "handover", v->handover);
                doc_add_string(x, "state", v->state);
                doc_add_number(x, "n_functions", v->n_functions);
                doc_add_string(x, "tenant", v->tenant);
                doc_add_number(x, "owner_uid", v->owner_uid);
                doc_add_string(x, "path", v->path);
                doc_add(array, NULL, x);
        }
        doc_add(d, "vms", array);
        output_doc(o, d);
}

static bool has_tenants(const VmRows *l) {
        for (size_t i = 0; i < l->n; i++)
                if (*l->items[i].tenant)
                        return true;
        return false;
}

/* The tenants come last, and only where there are any. */
static void print_vms(const VmRows *l, Output *o) {
        static const TableColumn columns[] = {
                { "UUID", 0 },
                { "NAME", TABLE_TRUNC | TABLE_LESS },
                { "TIER", TABLE_TRUNC | TABLE_EXTRA },
                { "HANDOVER", TABLE_TRUNC | TABLE_EXTRA },
                { "STATE", TABLE_TRUNC | TABLE_LESS },
                { "FUNCTIONS", TABLE_RIGHT | TABLE_EXTRA },
                { "TENANT", TABLE_TRUNC | TABLE_LESS },
        };
        _cleanup_(table_freep)
                Table *t = table_new(columns, ELEMENTSOF(columns) - !has_tenants(l), true);
        size_t n_quarantined = 0;

        for (size_t i = 0; i < l->n; i++) {
                const VmRow *v = &l->items[i];

                n_quarantined += streq(v->state, "quarantined");
                TABLE_ADD(t, v->uuid, cell_or_dash(v->name), v->tier, v->handover, v->state,
                          FORMAT_COUNT(v->n_functions), cell_or_dash(v->tenant));
                table_colour(t, 4, state_colour(v->state));
        }
        table_print(t, o);
        if (n_quarantined > 0 && o->legend)
                output_printf(o, "\n%zu quarantined, see `aviommuctl reclaim`.\n", n_quarantined);
}

int verb_list(Ctl *ctl, int argc, char **argv) {
        _cleanup_(vm_rows_done) VmRows l = {};
        int r;

        (void)argc;
        (void)argv;

        r = survey_vms(ctl, &l);
        if (r < 0)
                return r;

        if (ctl->out.json != JSON_OFF)
                vms_json(&l, &ctl->out);
        else if (l.n > 0)
                print_vms(&l, &ctl->out);
        else
                ctl_notice(ctl, "No VMs.");
        return 0;
}
