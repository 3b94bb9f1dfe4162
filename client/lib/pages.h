/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reading a list of the Manager to its end: ListVmDetails, ListFunctions, ListReservations, ListDefinitions. */

#include "lib/client.h"

typedef struct Pages {
        const char *member, *contents, *what; /* method, signature of an element, progress */

        sd_bus_message **messages; /* kept: the strings of the elements are in them */
        size_t n_messages;
} Pages;

/* Calls @read_one for each element. Returns 0 or a negative errno (reterr set). */
int pages_read(Client *c, Pages *p, int (*read_one)(sd_bus_message *m, void *userdata),
               void *userdata, Failure *reterr);

void pages_done(Pages *p);
