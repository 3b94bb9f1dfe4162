/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A VM on the command line is a UUID or a name.
 */
#include "ctl/ctl.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"

int ctl_find_vm(Ctl *ctl, const char *what, sd_bus_message **ret_reply, const char **ret_path) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        CallOptions options = { .what = "looking for the VM" };
        char uuid[UUID_STRING_SIZE];
        const char *member = "GetVmByName";
        int r;

        if (uuid_parse(what, uuid) >= 0) {
                member = "GetVm";
                options.uuid = what = uuid;
        }
        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, member, &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", what);
        if (r < 0)
                return ctl_usage(ctl, "\"%s\" cannot be the name of a VM", what);
        r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        if (r < 0)
                return r;
        if (sd_bus_message_read(reply, "o", ret_path) < 0)
                return failure_set_malformed(&ctl->failure, member);
        *ret_reply = TAKE_PTR(reply);
        return 0;
}

int ctl_resolve_vm(Ctl *ctl, const char *what, char ret[static UUID_STRING_SIZE]) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *path, *digits;
        int r;

        if (uuid_parse(what, ret) >= 0)
                return 0;
        r = ctl_find_vm(ctl, what, &reply, &path);
        if (r < 0)
                return r;
        digits = strrchr(path, '/');
        if (!digits || uuid_parse(digits + 1, ret) < 0)
                return failure_set_malformed(&ctl->failure, "GetVmByName");
        return 0;
}
