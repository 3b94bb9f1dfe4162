/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl functions: the PCI functions of the host, page by page.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/pages.h"
#include "lib/reply.h"
#include "lib/table.h"

#define NO_GROUP UINT32_MAX

typedef struct Function {
        const char *address, *driver, *host_iommu, *state, *uuid;
        uint32_t group;
        int32_t numa_node;

        /* What is in the a{sv}; NULL and false where the daemon does not say */
        const char *physical_function, *cdev, *group_type, *host_use;
        uint16_t vendor_id, device_id;
        uint32_t class;
        StringList aliases;
} Function;

typedef struct FunctionList {
        Function *items;
        size_t n;
        char (*addresses)[PCI_ADDRESS_STRING_SIZE]; /* only these; NULL: all */
        int n_addresses;
} FunctionList;

static const ReplyField function_fields[] = {
        { "vendor-id", "q", offsetof(Function, vendor_id), NULL },
        { "device-id", "q", offsetof(Function, device_id), NULL },
        { "class", "u", offsetof(Function, class), NULL },
        { "physical-function", "s", offsetof(Function, physical_function), NULL },
        { "cdev", "s", offsetof(Function, cdev), NULL },
        { "group-type", "s", offsetof(Function, group_type), NULL },
        { "host-use", "s", offsetof(Function, host_use), NULL },
        { "aliases", "as", offsetof(Function, aliases), reply_read_strings },
};

static void function_list_done(FunctionList *l) {
        for (size_t i = 0; i < l->n; i++)
                string_list_done(&l->items[i].aliases);
        free(l->items);
        free(l->addresses);
}

static bool is_wanted(const FunctionList *l, const char *address) {
        if (!l->addresses)
                return true;
        for (int i = 0; i < l->n_addresses; i++)
                if (streq(l->addresses[i], address))
                        return true;
        return false;
}

/* (sssuissa{sv}) */
static int read_function(sd_bus_message *m, void *userdata) {
        FunctionList *l = userdata;
        Function f = {};
        int r;

        r = sd_bus_message_enter_container(m, 'r', "sssuissa{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "sssuiss", &f.address, &f.driver, &f.host_iommu, &f.group,
                                &f.numa_node, &f.state, &f.uuid);
        if (r < 0)
                return r;
        r = reply_read_fields(m, function_fields, ELEMENTSOF(function_fields), &f);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0 || !is_wanted(l, f.address)) {
                string_list_done(&f.aliases);
                return r;
        }

        l->items = alloc_grow(l->items, l->n, sizeof(Function));
        l->items[l->n++] = f;
        return 0;
}

static void functions_json(const FunctionList *l, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                const Function *f = &l->items[i];
                Doc *x = doc_new_object();

                doc_add_string(x, "address", f->address);
                doc_add_string(x, "driver", f->driver);
                doc_add_string(x, "host_iommu", f->host_iommu);
                if (f->group == NO_GROUP)
                        doc_add_null(x, "group");
                else
                        doc_add_number(x, "group", f->group);
                doc_add_signed(x, "numa_node", f->numa_node);
                doc_add_string(x, "state", f->state);
                doc_add_string(x, "vm", f->uuid);
                doc_add_number(x, "vendor_id", f->vendor_id);
                doc_add_number(x, "device_id", f->device_id);
                doc_add_number(x, "class", f->class);
                doc_add_string(x, "physical_function", strempty(f->physical_function));
                doc_add_string(x, "cdev", strempty(f->cdev));
                doc_add_string(x, "group_type", strempty(f->group_type));
                doc_add_string(x, "host_use", strempty(f->host_use));
                doc_add_strings(x, "aliases", f->aliases.items, f->aliases.n);
                doc_add(array, NULL, x);
        }
        doc_add(d, "functions", array);
        output_doc(o, d);
}

static void print_functions(const FunctionList *l, Output *o) {
        static const TableColumn columns[] = {
                { "ADDRESS", 0 },
                { "ID", TABLE_EXTRA },
                { "DRIVER", TABLE_TRUNC | TABLE_LESS },
                { "IOMMU", TABLE_LESS },
                { "GROUP", TABLE_RIGHT | TABLE_LESS },
                { "NODE", TABLE_RIGHT | TABLE_EXTRA },
                { "STATE", 0 },
                { "VM", TABLE_TRUNC },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                const Function *f = &l->items[i];
                char id[16] = "-", group[16] = "-", node[16] = "-";

                if (f->vendor_id != 0) /* else it is lost, and nobody knows */
                        (void)snprintf(id, sizeof(id), "%04x:%04x", f->vendor_id, f->device_id);
                if (f->group != NO_GROUP)
                        (void)snprintf(group, sizeof(group), "%" PRIu32, f->group);
                if (f->numa_node >= 0)
                        (void)snprintf(node, sizeof(node), "%" PRIi32, f->numa_node);
                TABLE_ADD(t, f->address, id, cell_or_dash(f->driver), cell_or_dash(f->host_iommu),
                          group, node, f->state, cell_or_dash(f->uuid));
                table_colour(t, 6, state_colour(f->state));
        }
        table_print(t, o);
}

static void report_missing(Ctl *ctl, const FunctionList *l) {
        for (int i = 0; i < l->n_addresses; i++) {
                bool found = false;

                for (size_t k = 0; k < l->n && !found; k++)
                        found = streq(l->items[k].address, l->addresses[i]);
                if (found)
                        continue;
                (void)failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                                  "`aviommuctl functions` lists those there are; bridges are "
                                  "left out.",
                                  "This host has no PCI function %s", l->addresses[i]);
                ctl_report(ctl, NULL);
        }
}

int verb_functions(Ctl *ctl, int argc, char **argv) {
        _cleanup_(pages_done) Pages pages = { .member = "ListFunctions",
                                              .contents = "(sssuissa{sv})",
                                              .what = "asking for the functions" };
        _cleanup_(function_list_done) FunctionList l = {};
        int r;

        if (argc > 0)
                l.addresses = alloc_check(calloc((size_t)argc, sizeof(*l.addresses)));
        for (; l.n_addresses < argc; l.n_addresses++) {
                r = ctl_parse_address(ctl, argv[l.n_addresses], l.addresses[l.n_addresses]);
                if (r < 0)
                        return r;
        }

        r = pages_read(&ctl->client, &pages, read_function, &l, &ctl->failure);
        if (r < 0)
                return r;
        report_missing(ctl, &l);

        if (ctl->out.json != JSON_OFF)
                functions_json(&l, &ctl->out);
        else if (l.n > 0)
                print_functions(&l, &ctl->out);
        else if (argc == 0)
                ctl_notice(ctl, "No PCI functions.");
        return 0;
}
