/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/request.h"

#include <errno.h>

#include "base/fd-util.h"

void request_done(Request *q) {
        free(q->functions);
        free(q->removed);
        q->leash_pidfd = fd_close(q->leash_pidfd);
        *q = (Request){ .leash_pidfd = -1 };
}

int request_function_parse(const char *s, RequestFunction *ret) {
        char address[sizeof("0000:00:00.0=")];
        RequestFunction f = {};
        const char *guest;
        PciAddress a;
        size_t n;
        int r;

        guest = strchrnul(s, '=');
        n = (size_t)(guest - s);
        if (n >= sizeof(address))
                return -EINVAL;
        memcpy(address, s, n);
        address[n] = '\0';
        r = pci_address_parse(address, &a);
        if (r < 0)
                return r;
        pci_address_format(&a, f.address);

        if (*guest) {
                GuestDeviceId id;

                r = guest_device_id_parse(guest + 1, &id);
                if (r < 0)
                        return r;
                guest_device_id_format(id, f.guest_device_id);
        }

        *ret = f;
        return 0;
}

static int append_string(sd_bus_message *m, const char *key, const char *value) {
        if (!value || !*value)
                return 0;
        return sd_bus_message_append(m, "{sv}", key, "s", value);
}

static int append_options(const RequestFunction *f, sd_bus_message *m) {
        int r;

        r = append_string(m, "guest-device-id", f->guest_device_id);
        if (r >= 0)
                r = append_string(m, "vf-token", f->vf_token);
        if (r >= 0 && f->is_managed)
                r = sd_bus_message_append(m, "{sv}", "managed", "b", true);
        return r;
}

static int append_functions(sd_bus_message *m, const char *key, const RequestFunction *functions,
                            size_t n_functions) {
        int r;

        if ((r = sd_bus_message_open_container(m, 'e', "sv")) < 0 ||
            (r = sd_bus_message_append_basic(m, 's', key)) < 0 ||
            (r = sd_bus_message_open_container(m, 'v', "a(sa{sv})")) < 0 ||
            (r = sd_bus_message_open_container(m, 'a', "(sa{sv})")) < 0)
                return r;

        for (size_t i = 0; i < n_functions; i++)
                if ((r = sd_bus_message_open_container(m, 'r', "sa{sv}")) < 0 ||
                    (r = sd_bus_message_append_basic(m, 's', functions[i].address)) < 0 ||
                    (r = sd_bus_message_open_container(m, 'a', "{sv}")) < 0 ||
                    (r = append_options(functions + i, m)) < 0 ||
                    (r = sd_bus_message_close_container(m)) < 0 ||
                    (r = sd_bus_message_close_container(m)) < 0)
                        return r;

        for (size_t depth = 0; depth < 3; depth++)
                if ((r = sd_bus_message_close_container(m)) < 0)
                        return r;
        return 0;
}

int request_append_attach(const Request *q, const RequestFunction *functions, size_t n_functions,
                          sd_bus_message *m) {
        int r;

        r = sd_bus_message_append(m, "s", functions[0].address);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_options(functions, m);
        if (r >= 0 && n_functions > 1)
                r = append_functions(m, "with", functions + 1, n_functions - 1);
        if (r >= 0 && q->has_memory)
                r = sd_bus_message_append(m, "{sv}", "memory", "t", q->memory_bytes);
        return r < 0 ? r : MIN(sd_bus_message_close_container(m), 0);
}

/* What the VM takes. */
static int append_taken(const Request *q, const char *functions_key, sd_bus_message *m) {
        int r;

        r = append_string(m, "name", q->name);
        if (r >= 0)
                r = append_string(m, "tier", q->tier);
        if (r >= 0)
                r = append_string(m, "handover", q->handover);
        if (r >= 0)
                r = append_string(m, "reservation", q->reservation);
        if (r >= 0)
                r = append_string(m, "tenant", q->tenant);
        if (r >= 0 && q->n_functions > 0)
                r = append_functions(m, functions_key, q->functions, q->n_functions);
        if (r >= 0 && q->has_memory)
                r = sd_bus_message_append(m, "{sv}", "memory", "t", q->memory_bytes);
        if (r >= 0 && q->has_guest_domains)
                r = sd_bus_message_append(m, "{sv}", "guest-domains", "u", q->n_guest_domains);
        if (r >= 0 && q->has_autostart)
                r = sd_bus_message_append(m, "{sv}", "autostart", "b", q->is_autostart);
        return r;
}

static int append_removed(const Request *q, sd_bus_message *m) {
        int r;

        if (q->n_removed == 0)
                return 0;
        if ((r = sd_bus_message_open_container(m, 'e', "sv")) < 0 ||
            (r = sd_bus_message_append_basic(m, 's', "remove-functions")) < 0 ||
            (r = sd_bus_message_open_container(m, 'v', "as")) < 0 ||
            (r = sd_bus_message_open_container(m, 'a', "s")) < 0)
                return r;
        for (size_t i = 0; i < q->n_removed; i++)
                if ((r = sd_bus_message_append_basic(m, 's', q->removed[i].address)) < 0)
                        return r;
        for (size_t depth = 0; depth < 3; depth++)
                if ((r = sd_bus_message_close_container(m)) < 0)
                        return r;
        return 0;
}

int request_append_changes(const Request *q, sd_bus_message *m) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_taken(q, "add-functions", m);
        if (r >= 0)
                r = append_removed(q, m);
        return r < 0 ? r : MIN(sd_bus_message_close_container(m), 0);
}

int request_append(const Request *q, sd_bus_message *m) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_taken(q, "functions", m);
        if (r >= 0 && q->is_prepared)
                r = sd_bus_message_append(m, "{sv}", "prepared", "b", true);
        if (r >= 0 && q->is_held)
                r = sd_bus_message_append(m, "{sv}", "leash", "s", "caller");
        if (r >= 0 && q->is_reported)
                r = sd_bus_message_append(m, "{sv}", "leash", "s", "agent");
        if (r >= 0 && q->leash_pidfd >= 0)
                r = sd_bus_message_append(m, "{sv}", "leash-pidfd", "h", q->leash_pidfd);
        if (r < 0)
                return r;
        return MIN(sd_bus_message_close_container(m), 0);
}
