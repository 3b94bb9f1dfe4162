/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/unit.h"

#include <stdio.h>

#define SYSTEMD_NAME      "org.freedesktop.systemd1"
#define SYSTEMD_PATH      "/org/freedesktop/systemd1"
#define SYSTEMD_INTERFACE SYSTEMD_NAME ".Manager"
#define SYSTEMD_UNIT      SYSTEMD_NAME ".Unit"

#define SYSTEMD_TIMEOUT_USEC ((uint64_t)5000000)

static int call(Client *c, const char *path, const char *interface, const char *member,
                const char *a, const char *b, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(c->bus, &m, SYSTEMD_NAME, path, interface, member);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", a);
        if (r >= 0 && b)
                r = sd_bus_message_append(m, "s", b);
        if (r >= 0)
                r = sd_bus_call(c->bus, m, SYSTEMD_TIMEOUT_USEC, NULL, ret);
        return r;
}

static int get_word(Client *c, const char *path, const char *property, char *ret, size_t size) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        const char *word;
        int r;

        r = call(c, path, DBUS_PROPERTIES_INTERFACE, "Get", SYSTEMD_UNIT, property, &m);
        if (r >= 0)
                r = sd_bus_message_read(m, "v", "s", &word);
        if (r >= 0)
                (void)snprintf(ret, size, "%s", word);
        return MIN(r, 0);
}

int unit_get_state(Client *c, const char *unit, UnitState *ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        Failure ignored;
        const char *path;
        int r;

        r = client_connect(c, &ignored);
        if (r >= 0)
                r = call(c, SYSTEMD_PATH, SYSTEMD_INTERFACE, "LoadUnit", unit, NULL, &m);
        if (r >= 0)
                r = sd_bus_message_read(m, "o", &path);
        if (r >= 0)
                r = get_word(c, path, "LoadState", ret->load, sizeof(ret->load));
        if (r >= 0)
                r = get_word(c, path, "ActiveState", ret->active, sizeof(ret->active));
        return MIN(r, 0);
}
