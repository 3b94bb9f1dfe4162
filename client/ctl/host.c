/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl host: all host IOMMUs in a table, or named ones in full.
 */
#include "ctl/ctl.h"
#include "ctl/render.h"
#include "ctl/survey.h"

#include <errno.h>
#include <inttypes.h>

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

static bool is_selected(const HostIommu *h, int argc, char **argv) {
        for (int i = 0; i < argc; i++)
                if (streq(h->name, argv[i]))
                        return true;
        return argc == 0;
}

/* Keeps those that were asked for, in their order. */
static void hosts_select(HostIommuList *l, int argc, char **argv) {
        size_t n = 0;

        for (size_t i = 0; i < l->n; i++)
                if (is_selected(&l->items[i], argc, argv))
                        l->items[n++] = l->items[i];
                else
                        host_iommu_done(&l->items[i]);
        l->n = n;
}

static void report_missing(Ctl *ctl, const HostIommuList *l, int argc, char **argv) {
        for (int i = 0; i < argc; i++) {
                bool found = false;

                for (size_t k = 0; k < l->n && !found; k++)
                        found = streq(l->items[k].name, argv[i]);
                if (found)
                        continue;
                (void)failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                                  "`aviommuctl host` lists the host IOMMUs there are.",
                                  "There is no host IOMMU \"%s\"", argv[i]);
                ctl_report(ctl, NULL);
        }
}

static int host_probe(Ctl *ctl, const char *path) {
        static const CallOptions options = { .what = "probing the kernel", .is_change = true };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *level;
        int r;

        r = client_new_call(&ctl->client, path, AVIOMMU_HOST_INTERFACE, "Probe", &m, &ctl->failure);
        if (r < 0)
                return r;
        r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        if (r < 0)
                return r;
        if (sd_bus_message_read(reply, "s", &level) < 0)
                return failure_set_malformed(&ctl->failure, "Probe");
        return 0;
}

static void hosts_json(const HostIommuList *l, Output *o) {
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                const HostIommu *h = &l->items[i];
                Doc *x = doc_new_object();

                doc_add_string(x, "name", h->name);
                doc_add_string(x, "vendor", h->vendor);
                doc_add_string(x, "pci_address", h->pci_address);
                doc_add_number(x, "segment", h->segment);
                doc_add_signed(x, "numa_node", h->numa_node);
                doc_add_number(x, "efr", h->efr);
                doc_add_number(x, "efr2", h->efr2);
                doc_add_strings(x, "features", h->features.items, h->features.n);
                doc_add_string(x, "kernel_level", h->kernel_level);
                doc_add_string(x, "kernel_level_reason", h->kernel_level_reason);
                doc_add(x, "resources", resources_to_doc(&h->resources));
                doc_add(array, NULL, x);
        }
        doc_add(d, "host_iommus", array);
        output_doc(o, d);
}

/* "used/capacity" of the first resource of a kind, "-" when there is none. */
static char *format_use(const HostIommu *h, const char *kind, char buf[static 2 * FORMAT_SIZE]) {
        for (size_t i = 0; i < h->resources.n; i++) {
                const Resource *x = &h->resources.items[i];

                if (streq(x->kind, kind)) {
                        (void)snprintf(buf, 2 * FORMAT_SIZE, "%s/%s", FORMAT_COUNT(x->used),
                                       FORMAT_COUNT(x->capacity));
                        return buf;
                }
        }
        (void)snprintf(buf, 2 * FORMAT_SIZE, "-");
        return buf;
}

static char *format_node(int32_t node, char buf[static FORMAT_SIZE]) {
        if (node < 0)
                (void)snprintf(buf, FORMAT_SIZE, "-");
        else
                (void)snprintf(buf, FORMAT_SIZE, "%" PRIi32, node);
        return buf;
}

static char *join(const StringList *l) {
        char *s = alloc_printf("%s", "");

        for (size_t i = 0; i < l->n; i++) {
                char *longer = alloc_printf("%s%s%s", s, i > 0 ? " " : "", l->items[i]);

                free(s);
                s = longer;
        }
        return s;
}

static void print_hosts(const HostIommuList *l, Output *o) {
        static const TableColumn columns[] = {
                { "NAME", 0 },
                { "VENDOR", TABLE_TRUNC | TABLE_EXTRA },
                { "PCI", TABLE_LESS },
                { "SEGMENT", TABLE_LESS },
                { "NODE", TABLE_RIGHT | TABLE_LESS },
                { "LEVEL", TABLE_TRUNC },
                { "INSTANCES", TABLE_RIGHT },
                { "TRANS-DEVIDS", TABLE_RIGHT | TABLE_LESS },
                { "FEATURES", TABLE_TRUNC | TABLE_EXTRA },
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                const HostIommu *h = &l->items[i];
                _cleanup_free_ char *features = join(&h->features);
                char segment[8], node[FORMAT_SIZE], instances[2 * FORMAT_SIZE],
                        devids[2 * FORMAT_SIZE];

                (void)snprintf(segment, sizeof(segment), "%04x", h->segment);
                TABLE_ADD(t, h->name, h->vendor, cell_or_dash(h->pci_address), segment,
                          format_node(h->numa_node, node), h->kernel_level,
                          format_use(h, "instances", instances),
                          format_use(h, "trans-devids", devids), cell_or_dash(features));
        }
        table_print(t, o);
}

static void print_host(const HostIommu *h, Output *o) {
        static const TableColumn columns[] = { { "", TABLE_RIGHT }, { "", TABLE_WRAP } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), false);
        _cleanup_free_ char *features = join(&h->features);
        char text[FORMAT_SIZE];

        TABLE_ADD(t, "Name:", h->name);
        TABLE_ADD(t, "Vendor:", h->vendor);
        TABLE_ADD(t, "PCI address:", cell_or_dash(h->pci_address));
        (void)snprintf(text, sizeof(text), "%04x", h->segment);
        TABLE_ADD(t, "Segment:", text);
        TABLE_ADD(t, "NUMA node:", format_node(h->numa_node, text));
        (void)snprintf(text, sizeof(text), "0x%" PRIx64, h->efr);
        TABLE_ADD(t, "EFR:", text);
        (void)snprintf(text, sizeof(text), "0x%" PRIx64, h->efr2);
        TABLE_ADD(t, "EFR2:", text);
        TABLE_ADD(t, "Features:", cell_or_dash(features));
        TABLE_ADD(t, "Kernel level:", h->kernel_level);
        TABLE_ADD(t, "Reason:", cell_or_dash(h->kernel_level_reason));
        table_print(t, o);
        if (h->resources.n > 0) {
                output_printf(o, "\n");
                print_resources(&h->resources, o);
        }
}

int verb_host(Ctl *ctl, int argc, char **argv) {
        _cleanup_(host_list_done) HostIommuList l = {};
        int r;

        r = survey_hosts(ctl, &l);
        if (r < 0)
                return r;
        report_missing(ctl, &l, argc, argv);
        hosts_select(&l, argc, argv);

        if (ctl->probe && l.n > 0) {
                for (size_t i = 0; i < l.n; i++)
                        if (host_probe(ctl, l.items[i].path) < 0)
                                ctl_report(ctl, l.items[i].name);
                /* Once more, for what is known now. */
                host_list_done(&l);
                r = survey_hosts(ctl, &l);
                if (r < 0)
                        return r;
                hosts_select(&l, argc, argv);
        }

        if (ctl->out.json != JSON_OFF)
                hosts_json(&l, &ctl->out);
        else if (argc == 0) {
                if (l.n > 0)
                        print_hosts(&l, &ctl->out);
                else
                        ctl_notice(ctl, "No host IOMMUs.");
        } else
                for (size_t i = 0; i < l.n; i++) {
                        if (i > 0)
                                output_printf(&ctl->out, "\n");
                        print_host(&l.items[i], &ctl->out);
                }
        return 0;
}
