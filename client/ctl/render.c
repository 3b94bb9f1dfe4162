/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/render.h"

#include "lib/alloc.h"
#include "lib/format.h"
#include "lib/table.h"

char *format_amount(const char *kind, uint64_t amount, char *buf) {
        bool in_bytes = streq(kind, "contiguous-memory") || streq(kind, "pinned-memory");

        return in_bytes ? format_bytes(amount, buf) : format_count(amount, buf);
}

char *string_list_join(const StringList *l) {
        char *all = alloc_printf("%s", l->n > 0 ? l->items[0] : "-");

        for (size_t i = 1; i < l->n; i++) {
                char *longer = alloc_printf("%s %s", all, l->items[i]);

                free(all);
                all = longer;
        }
        return all;
}

Doc *resources_to_doc(const ResourceList *l) {
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                Doc *d = doc_new_object();

                doc_add_string(d, "kind", l->items[i].kind);
                doc_add_string(d, "scope", l->items[i].scope);
                doc_add_number(d, "capacity", l->items[i].capacity);
                doc_add_number(d, "used", l->items[i].used);
                doc_add(array, NULL, d);
        }
        return array;
}

Doc *charges_to_doc(const ChargeList *l) {
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                Doc *d = doc_new_object();

                doc_add_string(d, "kind", l->items[i].kind);
                doc_add_string(d, "scope", l->items[i].scope);
                doc_add_number(d, "amount", l->items[i].amount);
                doc_add(array, NULL, d);
        }
        return array;
}

Doc *vm_functions_to_doc(const VmFunctionList *l, const char *last_key) {
        Doc *array = doc_new_array();

        for (size_t i = 0; i < l->n; i++) {
                Doc *d = doc_new_object();

                doc_add_string(d, "address", l->items[i].address);
                doc_add_string(d, "host_iommu", l->items[i].host_iommu);
                doc_add_string(d, "guest_device_id", l->items[i].guest_device_id);
                doc_add_string(d, last_key, l->items[i].last);
                doc_add(array, NULL, d);
        }
        return array;
}

void print_resources(const ResourceList *l, Output *o) {
        static const TableColumn columns[] = { { "RESOURCE", TABLE_TRUNC },
                                               { "SCOPE", TABLE_TRUNC },
                                               { "USED", TABLE_RIGHT },
                                               { "FREE", TABLE_RIGHT },
                                               { "CAPACITY", TABLE_RIGHT | TABLE_EXTRA } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                const Resource *x = &l->items[i];
                char used[FORMAT_SIZE], left[FORMAT_SIZE], capacity[FORMAT_SIZE];
                uint64_t n_left;

                /* A host can hold more than the daemon granted, or have shrunk since. */
                n_left = x->capacity == UINT64_MAX ? UINT64_MAX
                         : x->used >= x->capacity  ? 0
                                                   : x->capacity - x->used;
                TABLE_ADD(t, x->kind, x->scope, format_amount(x->kind, x->used, used),
                          format_amount(x->kind, n_left, left),
                          format_amount(x->kind, x->capacity, capacity));
                if (n_left == 0)
                        table_colour(t, 3, TABLE_BAD);
        }
        table_print(t, o);
}

void print_charges(const ChargeList *l, Output *o) {
        static const TableColumn columns[] = { { "RESOURCE", TABLE_TRUNC },
                                               { "SCOPE", TABLE_TRUNC },
                                               { "AMOUNT", TABLE_RIGHT } };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                char amount[FORMAT_SIZE];

                TABLE_ADD(t, l->items[i].kind, l->items[i].scope,
                          format_amount(l->items[i].kind, l->items[i].amount, amount));
        }
        table_print(t, o);
}

void print_vm_functions(const VmFunctionList *l, const char *last, Output *o) {
        const TableColumn columns[] = {
                { "FUNCTION", 0 }, { "IOMMU", TABLE_TRUNC }, { "GUEST", 0 }, { last, TABLE_TRUNC }
        };
        _cleanup_(table_freep) Table *t = table_new(columns, ELEMENTSOF(columns), true);

        for (size_t i = 0; i < l->n; i++) {
                const VmFunction *f = &l->items[i];

                TABLE_ADD(t, f->address, cell_or_dash(f->host_iommu),
                          cell_or_dash(f->guest_device_id), cell_or_dash(f->last));
                table_colour(t, 3, state_colour(f->last));
        }
        table_print(t, o);
}
