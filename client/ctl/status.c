/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl status: the Manager's properties.
 */
#include "ctl/ctl.h"
#include "ctl/render.h"
#include "ctl/survey.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

/* ListQuarantined names no more. */
#define QUARANTINED_MAX 1000

static void status_json(const Status *s, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *tiers = doc_new_array();

        doc_add_string(d, "daemon_version", s->version);
        doc_add_string(d, "kernel", s->kernel);
        doc_add_string(d, "kernel_level", s->kernel_level);
        doc_add_number(d, "n_vms", s->n_vms);
        if (s->may_count)
                doc_add_number(d, "n_quarantined", s->n_quarantined);
        else
                doc_add_null(d, "n_quarantined");
        doc_add_number(d, "n_reservations", s->n_reservations);
        doc_add_number(d, "n_functions", s->n_functions);
        doc_add_number(d, "n_host_iommus", s->n_host_iommus);
        for (size_t i = 0; i < s->tiers.n; i++) {
                Doc *t = doc_new_object();

                doc_add_string(t, "tier", s->tiers.items[i].name);
                doc_add_bool(t, "available", s->tiers.items[i].is_available);
                doc_add_string(t, "reason", s->tiers.items[i].reason);
                doc_add(tiers, NULL, t);
        }
        doc_add(d, "tiers", tiers);
        doc_add_strings(d, "problems", s->problems.items, s->problems.n);
        doc_add(d, "resources", resources_to_doc(&s->resources));
        output_doc(o, d);
}

static void print_facts(const Status *s, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);

        TABLE_ADD(t, "Version:", s->version);
        TABLE_ADD(t, "Kernel:", s->kernel);
        TABLE_ADD(t, "Kernel level:", s->kernel_level);
        TABLE_ADD(t, "VMs:", FORMAT_COUNT(s->n_vms));
        if (s->n_quarantined > 0) {
                _cleanup_free_ char *text = alloc_printf(
                        "%zu%s, see `aviommuctl reclaim`", s->n_quarantined,
                        s->n_quarantined >= QUARANTINED_MAX ? " or more" : "");

                TABLE_ADD(t, "Quarantined:", text);
                table_colour(t, 1, TABLE_BAD);
        } else
                TABLE_ADD(t, "Quarantined:", s->may_count ? "0" : "-");
        TABLE_ADD(t, "Reservations:", FORMAT_COUNT(s->n_reservations));
        TABLE_ADD(t, "Functions:", FORMAT_COUNT(s->n_functions));
        TABLE_ADD(t, "Host IOMMUs:", FORMAT_COUNT(s->n_host_iommus));
        for (size_t i = 0; i < s->problems.n; i++) {
                TABLE_ADD(t, i == 0 ? "Problems:" : "", s->problems.items[i]);
                table_colour(t, 1, TABLE_ATTENTION);
        }
        table_print(t, o);
}

static void print_tiers(const Status *s, Output *o) {
        static const TableColumn columns[] = { { "TIER", 0 },
                                               { "AVAILABLE", 0 },
                                               { "REASON", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < s->tiers.n; i++) {
                const Tier *tier = &s->tiers.items[i];

                TABLE_ADD(t, tier->name, tier->is_available ? "yes" : "no",
                          cell_or_dash(tier->reason));
                table_colour(t, 1, tier->is_available ? TABLE_GOOD : TABLE_FAINT);
        }
        table_print(t, o);
}

int verb_status(Ctl *ctl, int argc, char **argv) {
        _cleanup_(status_done) Status s = {};
        int r;

        (void)argc;
        (void)argv;

        r = survey_status(ctl, &s);
        if (r < 0)
                return r;
        r = ctl_count_quarantined(ctl, &s.n_quarantined);
        if (r < 0 && ctl->failure.exit_code != CLIENT_EXIT_DENIED)
                return r;
        s.may_count = r >= 0;

        if (ctl->out.json != JSON_OFF) {
                status_json(&s, &ctl->out);
                return 0;
        }

        print_facts(&s, &ctl->out);
        output_printf(&ctl->out, "\n");
        print_tiers(&s, &ctl->out);
        if (s.resources.n > 0) {
                output_printf(&ctl->out, "\n");
                print_resources(&s.resources, &ctl->out);
        }
        return 0;
}
