/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl leash, confirm, cancel and destroy: a VM's life.
 */
#include "ctl/ctl.h"
#include "ctl/request-option.h"

#include <errno.h>

#include "base/fd-util.h"
#include "lib/alloc.h"

int verb_leash(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "setting the leash", .is_change = true };
        char uuid[UUID_STRING_SIZE];
        _cleanup_close_ int pidfd = -1;
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        pidfd = pidfd_from_argument(ctl, argv[1]);
        if (pidfd < 0)
                return pidfd;

        options.uuid = uuid;
        r = ctl_call_vm(ctl, &options, "SetLeash", NULL, "h", pidfd);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, "pid", argv[1], "%s lives as long as process %s.", uuid, argv[1]);
        return 0;
}

int verb_confirm(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "confirming", .is_change = true };
        char uuid[UUID_STRING_SIZE];
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        options.uuid = uuid;
        r = ctl_call_vm(ctl, &options, "ConfirmContext", NULL, NULL);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, NULL, NULL, "Confirmed: the holder of %s has its descriptors.", uuid);
        return 0;
}

int verb_cancel(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "cancelling", .is_change = true };
        char uuid[UUID_STRING_SIZE];
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        options.uuid = uuid;
        r = ctl_call_vm(ctl, &options, "Cancel", NULL, NULL);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, NULL, NULL, "Asked the operation of %s to stop.", uuid);
        return 0;
}

int vm_destroy(Ctl *ctl, const char *uuid, bool force) {
        CallOptions options = {
                .what = "destroying the VM", .uuid = uuid, .is_change = true, .can_be_stopped = true
        };

        int r;

        if (force)
                return ctl_call_vm(ctl, &options, "Destroy", NULL, "a{sv}", 1, "force", "b", true);

        r = ctl_call_vm(ctl, &options, "Destroy", NULL, "a{sv}", 0);
        if (r < 0 && streq(ctl->failure.name, "WrongState"))
                (void)snprintf(ctl->failure.next, sizeof(ctl->failure.next),
                               "End the VMM, which takes the VM down, or insist with `aviommuctl "
                               "destroy --force %s`.",
                               uuid);
        return r;
}

static void destroy_json(Ctl *ctl, Doc *array, const char *uuid, bool is_destroyed) {
        Doc *d = doc_new_object();

        doc_add_string(d, "uuid", uuid);
        doc_add_bool(d, "destroyed", is_destroyed);
        doc_add_string(d, "error", is_destroyed ? NULL : ctl->failure.name);
        doc_add(array, NULL, d);
}

int verb_destroy(Ctl *ctl, int argc, char **argv) {
        _cleanup_free_ char *text = alloc_check(calloc((size_t)argc, UUID_STRING_SIZE));
        char(*uuids)[UUID_STRING_SIZE] = (void *)text;
        _cleanup_(doc_freep) Doc *d = doc_new();
        Doc *array = doc_new_array();
        bool as_json = ctl->out.json != JSON_OFF;
        int r;

        doc_add_string(d, "done", ctl->verb);
        doc_add(d, "vms", array);

        /* A slip in the last must not be found after the first is gone. */
        for (int i = 0; i < argc; i++) {
                r = ctl_resolve_vm(ctl, argv[i], uuids[i]);
                if (r < 0)
                        return r;
        }

        for (int i = 0; i < argc; i++) {
                r = vm_destroy(ctl, uuids[i], ctl->is_forced);
                if (as_json)
                        destroy_json(ctl, array, uuids[i], r >= 0);
                if (r < 0)
                        ctl_report(ctl, argc > 1 ? uuids[i] : NULL);
                else if (!as_json) {
                        ctl_done(ctl, uuids[i], NULL, NULL, "Destroyed %s.", uuids[i]);
                        r = output_flush_line(&ctl->out, &ctl->failure);
                        if (r < 0) {
                                (void)snprintf(ctl->failure.next, sizeof(ctl->failure.next),
                                               "The VM %s has been destroyed%s.", uuids[i],
                                               i + 1 < argc ? ", and none after it" : "");
                                return r;
                        }
                }
        }
        if (as_json)
                output_doc(&ctl->out, d);
        return 0;
}
