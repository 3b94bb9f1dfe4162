/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl definitions and definition: what is defined.
 */
#include "ctl/definition.h"

#include <errno.h>

#include "ctl/render.h"
#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

void definition_list_done(DefinitionList *l) {
        for (size_t i = 0; i < l->n; i++)
                string_list_done(&l->items[i].functions);
        free(l->items);
        pages_done(&l->pages);
}

static int read_fields(sd_bus_message *m, DefinitionRow *v) {
        int autostart, r;

        r = reply_check(sd_bus_message_enter_container(m, 'r', "ssubssssstas"));
        if (r >= 0)
                r = reply_check(sd_bus_message_read(
                        m, "ssubssssst", &v->uuid, &v->name, &v->owner_uid, &autostart, &v->state,
                        &v->reason, &v->tier, &v->handover, &v->tenant, &v->memory));
        if (r >= 0) {
                v->autostart = autostart;
                r = reply_read_strings(m, &v->functions);
        }
        return r < 0 ? r : reply_check(sd_bus_message_exit_container(m));
}

static int read_row(sd_bus_message *m, void *userdata) {
        DefinitionList *l = userdata;

        l->items = alloc_grow(l->items, l->n, sizeof(DefinitionRow));
        l->items[l->n] = (DefinitionRow){};
        return read_fields(m, &l->items[l->n++]);
}

int definition_list_get(Ctl *ctl, DefinitionList *ret) {
        *ret = (DefinitionList){ .pages = { .member = "ListDefinitions",
                                            .contents = "(ssubssssstas)",
                                            .what = "asking for the definitions" } };
        return pages_read(&ctl->client, &ret->pages, read_row, ret, &ctl->failure);
}

int definition_list_find(Ctl *ctl, const DefinitionList *l, const char *what,
                         const DefinitionRow **ret) {
        char uuid[UUID_STRING_SIZE];
        bool is_uuid = uuid_parse(what, uuid) >= 0;

        for (size_t i = 0; i < l->n; i++)
                if (streq(is_uuid ? l->items[i].uuid : l->items[i].name, is_uuid ? uuid : what)) {
                        *ret = &l->items[i];
                        return 0;
                }
        return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                           "`aviommuctl definitions` shows those there are.",
                           "There is no definition of \"%s\"", what);
}

int definition_resolve(Ctl *ctl, const char *what, char ret[static UUID_STRING_SIZE]) {
        _cleanup_(definition_list_done) DefinitionList l = {};
        const DefinitionRow *row;
        int r;

        if (uuid_parse(what, ret) >= 0)
                return 0;
        r = definition_list_get(ctl, &l);
        if (r >= 0)
                r = definition_list_find(ctl, &l, what, &row);
        if (r < 0)
                return r;
        return uuid_parse(row->uuid, ret) < 0
                       ? failure_set_malformed(&ctl->failure, "ListDefinitions")
                       : 0;
}

/* ---- definitions ---- */

static void list_json(const DefinitionList *l, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                const DefinitionRow *v = &l->items[i];
                Doc *x = doc_new_object();

                doc_add_string(x, "uuid", v->uuid);
                doc_add_string(x, "name", v->name);
                doc_add_number(x, "owner_uid", v->owner_uid);
                doc_add_bool(x, "autostart", v->autostart);
                doc_add_string(x, "state", v->state);
                doc_add_string(x, "reason", v->reason);
                doc_add_string(x, "tier", v->tier);
                doc_add_string(x, "handover", v->handover);
                doc_add_string(x, "tenant", v->tenant);
                doc_add_number(x, "memory", v->memory);
                doc_add_strings(x, "functions", v->functions.items, v->functions.n);
                doc_add(array, NULL, x);
        }
        doc_add(d, "definitions", array);
        output_doc(o, d);
}

static TableColour colour_of(const DefinitionRow *v) {
        if (streq(v->state, "active"))
                return TABLE_GOOD;
        return streq(v->state, "inactive") ? TABLE_PLAIN : TABLE_BAD;
}

static void print_list(const DefinitionList *l, Output *o) {
        static const TableColumn columns[] = {
                { "UUID", 0 },
                { "NAME", TABLE_TRUNC | TABLE_LESS },
                { "STATE", TABLE_TRUNC | TABLE_LESS },
                { "BOOT", TABLE_LESS },
                { "TIER", TABLE_TRUNC | TABLE_LESS },
                { "OWNER", TABLE_RIGHT | TABLE_EXTRA },
                { "FUNCTIONS", TABLE_WRAP | TABLE_LESS },
                { "REASON", TABLE_WRAP | TABLE_EXTRA },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                const DefinitionRow *v = &l->items[i];
                _cleanup_free_ char *functions = string_list_join(&v->functions);

                TABLE_ADD(t, v->uuid, cell_or_dash(v->name), v->state, v->autostart ? "yes" : "no",
                          cell_or_dash(v->tier), FORMAT_COUNT(v->owner_uid), functions,
                          cell_or_dash(v->reason));
                table_colour(t, 2, colour_of(v));
        }
        table_print(t, o);
}

int verb_definitions(Ctl *ctl, int argc, char **argv) {
        _cleanup_(definition_list_done) DefinitionList l = {};
        int r;

        (void)argc;
        (void)argv;

        r = definition_list_get(ctl, &l);
        if (r < 0)
                return r;
        if (ctl->out.json != JSON_OFF)
                list_json(&l, &ctl->out);
        else if (l.n > 0)
                print_list(&l, &ctl->out);
        else
                ctl_notice(ctl, "No definitions.");
        return 0;
}

/* ---- definition ---- */

static int get_definition(Ctl *ctl, const char *uuid, sd_bus_message **ret, Definition *ret_read) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const CallOptions options = { .what = "asking for the definition", .uuid = uuid };
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, "GetDefinition",
                            &m, &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", uuid);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);
        r = client_call(&ctl->client, m, &options, ret, &ctl->failure);
        if (r < 0)
                return r;
        r = definition_read(*ret, ret_read);
        return r < 0 || !ret_read->tier ? failure_set_malformed(&ctl->failure, "GetDefinition") : 0;
}

static void print_functions(const Definition *d, Output *o) {
        static const TableColumn columns[] = {
                { "FUNCTION", 0 }, { "GUEST", 0 }, { "VF-TOKEN", TABLE_TRUNC }, { "MANAGED", 0 }
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < d->n_functions; i++)
                TABLE_ADD(t, d->functions[i].address, cell_or_dash(d->functions[i].guest_device_id),
                          cell_or_dash(d->functions[i].vf_token),
                          d->functions[i].is_managed ? "yes" : "no");
        table_print(t, o);
}

static void print_definition(const DefinitionRow *v, const Definition *d, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);

        TABLE_ADD(t, "UUID:", v->uuid);
        TABLE_ADD(t, "Name:", cell_or_dash(d->name));
        TABLE_ADD(t, "State:", v->state);
        table_colour(t, 1, colour_of(v));
        if (*v->reason)
                TABLE_ADD(t, "Reason:", v->reason);
        TABLE_ADD(t, "Autostart:", d->autostart ? "yes" : "no");
        TABLE_ADD(t, "Owner:", FORMAT_COUNT(v->owner_uid));
        TABLE_ADD(t, "Tenant:", cell_or_dash(d->tenant));
        TABLE_ADD(t, "Tier:", d->tier);
        TABLE_ADD(t, "Handover:", d->handover ?: "as the tier has it");
        TABLE_ADD(t, "Memory:", FORMAT_BYTES(d->memory));
        if (d->guest_domains > 0)
                TABLE_ADD(t, "Guest domains:", FORMAT_COUNT(d->guest_domains));
        table_print(t, o);
        if (d->n_functions > 0) {
                output_printf(o, "\n");
                print_functions(d, o);
        }
}

int verb_definition(Ctl *ctl, int argc, char **argv) {
        _cleanup_(definition_list_done) DefinitionList l = {};
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_(definition_done) Definition d = {};
        const DefinitionRow *row = NULL;
        int r;

        (void)argc;

        r = definition_list_get(ctl, &l);
        if (r >= 0)
                r = definition_list_find(ctl, &l, argv[0], &row);
        if (r < 0)
                return r;
        assert(row);
        r = get_definition(ctl, row->uuid, &m, &d);
        if (r < 0)
                return r;
        if (ctl->out.json == JSON_OFF)
                print_definition(row, &d, &ctl->out);
        else {
                _cleanup_(doc_freep) Doc *doc = definition_to_doc(row->uuid, &d);

                output_doc(&ctl->out, doc);
        }
        return 0;
}
