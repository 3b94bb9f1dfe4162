/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/libvirt.h"

#include <unistd.h>

#define AGENT_UNIT "aviommu-libvirt-agent.service"

#define SYSTEMD_NAME      "org.freedesktop.systemd1"
#define SYSTEMD_PATH      "/org/freedesktop/systemd1"
#define SYSTEMD_INTERFACE SYSTEMD_NAME ".Manager"
#define SYSTEMD_UNIT      SYSTEMD_NAME ".Unit"

#define SYSTEMD_TIMEOUT_USEC ((uint64_t)5000000)

/* "qemu+ssh://host/system": hook and agent are over there. */
static bool is_elsewhere(const char *uri) {
        const char *end = strchrnul(uri, ':'), *plus = strchr(uri, '+');

        return plus && plus < end && strncmp(plus, "+unix", strlen("+unix")) != 0;
}

static void find_hook(HostParts *p) {
        bool is_there = access(AVIOMMU_LIBVIRT_HOOK, X_OK) >= 0;

        p->hook = is_there ? VERDICT_YES : VERDICT_NO;
        (void)snprintf(p->hook_text, sizeof(p->hook_text), "%s%s", AVIOMMU_LIBVIRT_HOOK,
                       is_there ? "" : " is not there, or cannot be run");
}

static int call(Ctl *ctl, const char *path, const char *interface, const char *member,
                const char *a, const char *b, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(ctl->client.bus, &m, SYSTEMD_NAME, path, interface,
                                           member);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", a);
        if (r >= 0 && b)
                r = sd_bus_message_append(m, "s", b);
        if (r >= 0)
                r = sd_bus_call(ctl->client.bus, m, SYSTEMD_TIMEOUT_USEC, NULL, ret);
        return r;
}

/* A property of the agent's unit, which lives as long as @m. */
static int get_word(Ctl *ctl, const char *path, const char *property, sd_bus_message **m,
                    const char **ret) {
        int r;

        r = call(ctl, path, DBUS_PROPERTIES_INTERFACE, "Get", SYSTEMD_UNIT, property, m);
        return r < 0 ? r : sd_bus_message_read(*m, "v", "s", ret);
}

static void find_agent(Ctl *ctl, HostParts *p) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *unit = NULL, *load = NULL, *active = NULL;
        const char *path, *load_state, *active_state;
        Failure ignored;

        p->agent = VERDICT_UNKNOWN;
        (void)snprintf(p->agent_text, sizeof(p->agent_text), "systemd does not tell of %s",
                       AGENT_UNIT);
        if (client_connect(&ctl->client, &ignored) < 0 ||
            call(ctl, SYSTEMD_PATH, SYSTEMD_INTERFACE, "LoadUnit", AGENT_UNIT, NULL, &unit) < 0 ||
            sd_bus_message_read(unit, "o", &path) < 0 ||
            get_word(ctl, path, "LoadState", &load, &load_state) < 0 ||
            get_word(ctl, path, "ActiveState", &active, &active_state) < 0)
                return;

        p->agent = streq(active_state, "active") ? VERDICT_YES : VERDICT_NO;
        (void)snprintf(p->agent_text, sizeof(p->agent_text), "%s is %s", AGENT_UNIT,
                       streq(load_state, "loaded") ? active_state : load_state);
}

void host_parts_find(Ctl *ctl, const LibvirtVersions *versions, HostParts *ret) {
        *ret = (HostParts){ .hook = VERDICT_UNKNOWN, .agent = VERDICT_UNKNOWN };
        if (is_elsewhere(versions->uri)) {
                (void)snprintf(ret->hook_text, sizeof(ret->hook_text),
                               "libvirt is on another host");
                (void)snprintf(ret->agent_text, sizeof(ret->agent_text),
                               "libvirt is on another host");
                return;
        }
        find_hook(ret);
        find_agent(ctl, ret);
}
