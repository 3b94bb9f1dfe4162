/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/pages.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/reply.h"

#define PAGE_LIMIT 1000U
/* More pages than any host has things: a service that never ends its list must not fill our memory. */
#define MAX_PAGES 4096

static int page_get(Client *c, const Pages *p, const char *cursor, sd_bus_message **ret,
                    Failure *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = p->what };
        int r;

        r = client_new_call(c, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, p->member, &m, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "su", cursor, PAGE_LIMIT);
        if (r < 0)
                return failure_set_connection(reterr, r, c->address);
        return client_call(c, m, &options, ret, reterr);
}

int pages_read(Client *c, Pages *p, int (*read_one)(sd_bus_message *m, void *userdata),
               void *userdata, Failure *reterr) {
        const char *cursor = "", *next;
        int r;

        do {
                sd_bus_message *m = NULL;

                r = page_get(c, p, cursor, &m, reterr);
                if (r < 0)
                        return r;
                p->messages = alloc_grow(p->messages, p->n_messages, sizeof(sd_bus_message *));
                p->messages[p->n_messages++] = m;

                if (reply_read_array(m, p->contents, read_one, userdata) < 0 ||
                    sd_bus_message_read(m, "s", &next) < 0 ||
                    (*next && (streq(next, cursor) || p->n_messages >= MAX_PAGES)))
                        return failure_set_malformed(reterr, p->member);
                cursor = next;
        } while (*cursor);
        return 0;
}

void pages_done(Pages *p) {
        for (size_t i = 0; i < p->n_messages; i++)
                (void)sd_bus_message_unref(p->messages[i]);
        free(p->messages);
}
