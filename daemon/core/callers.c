/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Callers by their unique bus names, on which leashes and prepared contexts hang. A bus that starts again gives the same names to others: which
 * bus they are of is on record.
 */

#include <stdlib.h>

#include "core/manager-private.h"

void manager_list_callers(const Manager *m, void (*found)(void *userdata, const char *name),
                          void *userdata) {
        for (size_t i = 0; i < m->n_vms; i++)
                if (m->vms[i]->leash.kind == LEASH_CALLER)
                        found(userdata, m->vms[i]->leash.caller);
        prepared_list_callers(m, found, userdata);
}

void manager_name_vanished(Manager *m, const char *name) {
        /* A leash that ends may free its VM, which moves the array. */
        for (size_t i = 0; i < m->n_vms;) {
                Vm *vm = m->vms[i];

                vm_cancel_operations(vm, name);
                (void)leash_name_vanished(&vm->leash, name);
                if (i < m->n_vms && m->vms[i] == vm)
                        i++;
        }
        prepared_name_vanished(m, name);
}

typedef struct NameList {
        char **names;
        size_t n;
        bool short_of_memory;
} NameList;

static void collect(void *userdata, const char *name) {
        NameList *list = userdata;
        char **grown = reallocarray(list->names, list->n + 1, sizeof(char *));

        if (grown) {
                list->names = grown;
                grown[list->n] = strdup(name);
        }
        if (grown && grown[list->n])
                list->n++;
        else
                list->short_of_memory = true;
}

/* Returns 0, or -ENOMEM when there may be more of them. */
static int forget_all(Manager *m) {
        NameList list = {};

        manager_list_callers(m, collect, &list);
        for (size_t i = 0; i < list.n; i++) {
                manager_name_vanished(m, list.names[i]);
                free(list.names[i]);
        }
        free(list.names);
        return list.short_of_memory ? -ENOMEM : 0;
}

int manager_set_bus(Manager *m, sd_id128_t id) {
        int r;

        if (!m->records || sd_id128_equal(m->bus_id, id))
                return 0;

        /* Without a record of it the next daemon takes the bus for the same. */
        if (!sd_id128_is_null(m->bus_id)) {
                r = forget_all(m);
                if (r < 0)
                        return r;
                record_forget(m, RECORD_BUS, m->bus_id);
        }
        m->bus_id = id;
        r = record_store(m, RECORD_BUS, id, "{}");
        if (r < 0)
                log_event(LOG_WARNING, MESSAGE_RECORDS_FAILING,
                          &(LogFields){ .reason = strerror(-r) },
                          "It cannot be written down which bus this is: if it starts again, an old "
                          "name may be taken for a new one (%s).",
                          strerror(-r));
        return 0;
}

void callers_recover(Manager *m, const StateEntry *entry) {
        if (entry->verdict == RECORD_GOOD && sd_id128_is_null(m->bus_id))
                m->bus_id = entry->id;
        else
                record_forget(m, RECORD_BUS, entry->id);
}
