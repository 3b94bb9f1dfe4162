/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/pages.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/reply.h"

#define PAGE_LIMIT 1000U
/* More pages than any host has things: a service that never ends its list must not fill our memory. */
#define MAX_PAGES 4096

static int page_get(Ctl *ctl, Pages *p, const char *cursor, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = p->what };
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, p->member, &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "su", cursor, PAGE_LIMIT);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, ctl->client.address);
        return client_call(&ctl->client, m, &options, ret, &ctl->failure);
}

int pages_read(Ctl *ctl, Pages *p, int (*read_one)(sd_bus_message *m, void *userdata),
               void *userdata) {
        const char *cursor = "", *next;
        int r;

        do {
                sd_bus_message *m = NULL;

                r = page_get(ctl, p, cursor, &m);
                if (r < 0)
                        return r;
                p->messages = alloc_grow(p->messages, p->n_messages, sizeof(sd_bus_message *));
                p->messages[p->n_messages++] = m;

                if (reply_read_array(m, p->contents, read_one, userdata) < 0 ||
                    sd_bus_message_read(m, "s", &next) < 0 ||
                    (*next && (streq(next, cursor) || p->n_messages >= MAX_PAGES)))
                        return failure_set_malformed(&ctl->failure, p->member);
                cursor = next;
        } while (*cursor);
        return 0;
}

void pages_done(Pages *p) {
        for (size_t i = 0; i < p->n_messages; i++)
                (void)sd_bus_message_unref(p->messages[i]);
        free(p->messages);
}
