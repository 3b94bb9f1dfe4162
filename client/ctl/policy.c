/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl policy: what the configuration says, whether it can be used, and what of it applies to a VM. The first two read the files
 * themselves, as the daemon does, and want no daemon.
 */
#include "ctl/ctl.h"
#include "ctl/plan.h"
#include "ctl/render.h"

#include <errno.h>

#include "config/config.h"
#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

#define SYSTEM_ROOT "/"

/* ---- check ---- */

typedef struct Check {
        Output *out;
        Doc *errors, *warnings; /* NULL: for people */
        size_t n_errors, n_warnings;
} Check;

static void on_report(void *userdata, bool is_warning, const char *text) {
        Check *check = userdata;
        _cleanup_free_ char *shown = text_escape_new(text);

        *(is_warning ? &check->n_warnings : &check->n_errors) += 1;
        if (check->errors)
                doc_add_string(is_warning ? check->warnings : check->errors, NULL, text);
        else
                output_printf(check->out, "%s: %s\n", is_warning ? "warning" : "error",
                              strempty(shown));
}

static int fail_unreadable(Ctl *ctl, const char *path, int r) {
        if (r == -ENOENT)
                return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, r,
                                   "Give a file, or the root folder of an installation.",
                                   "There is no %s", path);
        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL, "Cannot read %s: %s", path,
                           strerror(-r));
}

static int policy_check_files(Ctl *ctl, const char *path) {
        _cleanup_(config_done) Config config = {};
        _cleanup_(doc_freep) Doc *d = NULL;
        Check check = { .out = &ctl->out };
        Problem p = {};
        int r;

        if (ctl->out.json != JSON_OFF) {
                d = doc_new();
                check.errors = doc_new_array();
                check.warnings = doc_new_array();
                doc_add_string(d, "path", path);
                doc_add(d, "errors", check.errors);
                doc_add(d, "warnings", check.warnings);
        }
        r = config_load(path, on_report, &check, &config, &p);
        if (r < 0 && check.n_errors == 0)
                return fail_unreadable(ctl, path, r);

        if (d) {
                const Policy *policy = config.policy;

                doc_add_strings(d, "files", policy ? (const char *const *)policy->files : NULL,
                                policy ? policy->n_files : 0);
                doc_add_bool(d, "usable", r >= 0);
                output_doc(&ctl->out, d);
        }
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r,
                                   "Mend that; until then aviommud keeps what it has in a reload, "
                                   "and does not start.",
                                   "The configuration has %zu error(s)", check.n_errors);
        if (!d && !ctl->quiet)
                output_printf(&ctl->out,
                              "The configuration can be used: %zu file(s) read, %zu "
                              "warning(s).\n",
                              config.policy->n_files, check.n_warnings);
        return 0;
}

/* ---- show ---- */

typedef struct Listing {
        Doc *settings; /* NULL: for people */
        Table *table;
} Listing;

static void on_setting(void *userdata, const char *section, const char *key, const char *value,
                       const ConfigPlace *place) {
        const Listing *listing = userdata;
        _cleanup_free_ char *from = place->file ? alloc_printf("%s:%i", place->file, place->line)
                                                : alloc_printf("default");

        if (listing->settings) {
                Doc *d = doc_new_object();

                doc_add_string(d, "section", section);
                doc_add_string(d, "key", key);
                doc_add_string(d, "value", value);
                doc_add_string(d, "file", strempty(place->file));
                if (place->file)
                        doc_add_number(d, "line", (uint64_t)place->line);
                else
                        doc_add_null(d, "line");
                doc_add(listing->settings, NULL, d);
                return;
        }
        TABLE_ADD(listing->table, section, cell_or_dash(key), cell_or_dash(value), from);
        if (!place->file)
                table_colour(listing->table, 3, TABLE_FAINT);
}

static int policy_show(Ctl *ctl, const char *path) {
        static const TableColumn columns[] = {
                { "SECTION", TABLE_TRUNC },
                { "KEY", TABLE_WRAP },
                { "VALUE", TABLE_TRUNC },
                { "FROM", TABLE_TRUNC },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);
        _cleanup_(config_done) Config config = {};
        _cleanup_(doc_freep) Doc *d = doc_new();
        Listing listing = { .table = t };
        Problem p = {};
        int r;

        r = config_load(path, NULL, NULL, &config, &p);
        if (r < 0 && problem_is_set(&p))
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r,
                                   "`aviommuctl policy check` shows every error.", "%s", p.text);
        if (r < 0)
                return fail_unreadable(ctl, path, r);

        if (ctl->out.json != JSON_OFF) {
                listing.settings = doc_new_array();
                doc_add_string(d, "path", path);
                doc_add(d, "settings", listing.settings);
        }
        config_list(&config, on_setting, &listing);
        if (ctl->out.json != JSON_OFF)
                output_doc(&ctl->out, d);
        else
                table_print(t, &ctl->out);
        return 0;
}

/* ---- explain ---- */

static const char *format_of(const PlanLimit *l, uint64_t amount, char buf[static FORMAT_SIZE]) {
        return strstr(l->key, "Memory") || strstr(l->key, "memory") ? format_bytes(amount, buf)
                                                                    : format_count(amount, buf);
}

static void add_limit(Table *t, const PlanLimit *l) {
        char limit[FORMAT_SIZE], used[FORMAT_SIZE], wanted[FORMAT_SIZE];

        TABLE_ADD(t, cell_or_dash(l->section), l->key, l->scope, format_of(l, l->used, used),
                  format_of(l, l->wanted, wanted), format_of(l, l->limit, limit));
        if (l->wanted > 0 && (l->used >= l->limit || l->wanted > l->limit - l->used))
                table_colour(t, 4, TABLE_BAD);
}

static void limit_to_doc(Doc *to, const PlanLimit *l) {
        Doc *d = doc_new_object();

        doc_add_string(d, "section", l->section);
        doc_add_string(d, "key", l->key);
        doc_add_string(d, "scope", l->scope);
        doc_add_number(d, "used", l->used);
        doc_add_number(d, "wanted", l->wanted);
        doc_add_number(d, "limit", l->limit);
        doc_add(to, NULL, d);
}

/* What of the host's own the VM would be charged, beside what of it there is. Adds to plan->limits. */
static int add_capacities(Ctl *ctl, Plan *p, sd_bus_message **ret_message) {
        static const ReplyField fields[] = { { "Resources", "a(sstt)", 0, reply_read_resources } };
        static const CallOptions options = { .what = "asking for the capacities" };
        ResourceList resources = {};
        int r;

        r = client_get_properties(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, &options,
                                  ret_message, &ctl->failure);
        if (r < 0)
                return r;
        if (reply_read_fields(*ret_message, fields, ELEMENTSOF(fields), &resources) < 0) {
                resource_list_done(&resources);
                return failure_set_malformed(&ctl->failure, "GetAll of the Manager");
        }
        for (size_t i = 0; i < p->charges.n; i++) {
                const Charge *c = p->charges.items + i;

                for (size_t j = 0; j < resources.n; j++) {
                        const Resource *x = resources.items + j;

                        if (!streq(c->kind, x->kind) || !streq(c->scope, x->scope))
                                continue;
                        p->limits.items = alloc_grow(p->limits.items, p->limits.n,
                                                     sizeof(PlanLimit));
                        p->limits.items[p->limits.n++] = (PlanLimit){ "host",   c->kind,
                                                                      c->scope, x->capacity,
                                                                      x->used,  c->amount };
                }
        }
        resource_list_done(&resources);
        return 0;
}

static void explain(const Plan *p, const char *uuid, Output *o) {
        static const TableColumn heads[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        static const TableColumn columns[] = {
                { "LIMIT OF", TABLE_TRUNC }, { "KEY", TABLE_TRUNC },    { "SCOPE", TABLE_EXTRA },
                { "USED", TABLE_RIGHT },     { "WANTED", TABLE_RIGHT }, { "LIMIT", TABLE_RIGHT },
        };
        _cleanup_(table_freep) Table *head = table_new(heads, ELEMENTSOF(heads), false);
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        if (o->json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();
                Doc *limits = doc_new_array();

                doc_add_string(d, "uuid", uuid);
                doc_add_bool(d, "admitted", p->is_admitted);
                doc_add_string(d, "error", p->error && *p->error ? p->error : NULL);
                doc_add_string(d, "message", p->text && *p->text ? p->text : NULL);
                for (size_t i = 0; i < p->limits.n; i++)
                        limit_to_doc(limits, p->limits.items + i);
                doc_add(d, "limits", limits);
                output_doc(o, d);
                return;
        }

        TABLE_ADD(head, "Admitted:", p->is_admitted ? "yes" : "no");
        table_colour(head, 1, p->is_admitted ? TABLE_GOOD : TABLE_BAD);
        if (p->text && *p->text)
                TABLE_ADD(head, "Reason:", p->text);
        table_print(head, o);
        if (p->limits.n == 0) {
                output_printf(o, "\nNo limit of the configuration applies.\n");
                return;
        }
        output_printf(o, "\n");
        for (size_t i = 0; i < p->limits.n; i++)
                add_limit(t, p->limits.items + i);
        table_print(t, o);
}

static int policy_explain(Ctl *ctl, const char *argument) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(plan_done) Plan p = {};
        char uuid[UUID_STRING_SIZE];
        int r;

        r = ctl_take_uuid(ctl, argument, uuid);
        if (r >= 0)
                r = plan_ask(ctl, uuid, &p);
        if (r >= 0)
                r = add_capacities(ctl, &p, &m);
        if (r < 0)
                return r;
        explain(&p, uuid, &ctl->out);
        return p.is_admitted ? 0 : plan_refused(ctl, &p, uuid);
}

int verb_policy(Ctl *ctl, int argc, char **argv) {
        const char *path = argc > 1 ? argv[1] : SYSTEM_ROOT;

        if (streq(argv[0], "check"))
                return policy_check_files(ctl, path);
        if (streq(argv[0], "show"))
                return policy_show(ctl, path);
        if (!streq(argv[0], "explain"))
                return ctl_usage(ctl, "\"%s\" is none of check, show and explain", argv[0]);
        if (argc < 2)
                return ctl_usage(ctl, "policy explain wants a UUID, or \"new\"");
        return policy_explain(ctl, argv[1]);
}
