/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/libvirt.h"

#include <unistd.h>

#include "lib/unit.h"

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

static void find_agent(Ctl *ctl, HostParts *p) {
        UnitState unit;

        p->agent = VERDICT_UNKNOWN;
        (void)snprintf(p->agent_text, sizeof(p->agent_text), "systemd does not tell of %s",
                       AGENT_UNIT);
        if (unit_get_state(&ctl->client, AGENT_UNIT, &unit) < 0)
                return;

        p->agent = streq(unit.active, "active") ? VERDICT_YES : VERDICT_NO;
        (void)snprintf(p->agent_text, sizeof(p->agent_text), "%s is %s", AGENT_UNIT,
                       streq(unit.load, "loaded") ? unit.active : unit.load);
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
