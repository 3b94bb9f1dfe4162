/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl plan and create: one request, asked about or carried out.
 */
#include "ctl/ctl.h"
#include "ctl/plan.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"

int ctl_take_uuid(Ctl *ctl, const char *argument, char ret[static UUID_STRING_SIZE]) {
        int r;

        if (!streq(argument, "new"))
                return ctl_parse_uuid(ctl, argument, ret);

        r = uuid_random(ret);
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                   "The kernel gives no random numbers");
        return 0;
}

int verb_plan(Ctl *ctl, int argc, char **argv) {
        char uuid[UUID_STRING_SIZE];
        _cleanup_(plan_done) Plan p = {};
        int r;

        (void)argc;

        r = ctl_take_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        r = plan_ask(ctl, uuid, &p);
        if (r < 0)
                return r;
        plan_show(&p, uuid, &ctl->out);
        return p.is_admitted ? 0 : plan_refused(ctl, &p, uuid);
}

static int read_u64(sd_bus_message *m, uint64_t *ret) {
        int r;

        r = sd_bus_message_enter_container(m, 'v', "t");
        if (r < 0)
                return r;
        return sd_bus_message_read_basic(m, 't', ret);
}

/* How long the VM has got to live without a leash. Returns 0, or a negative errno when it cannot be found out. */
static int leash_deadline(Ctl *ctl, const char *path, uint64_t *ret_left_usec) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        uint64_t deadline, now;
        Failure ignored;
        int r;

        r = client_new_call(&ctl->client, path, DBUS_PROPERTIES_INTERFACE, "Get", &m, &ignored);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ss", AVIOMMU_VM_INTERFACE, "LeashDeadlineUSec");
        if (r < 0)
                return r;
        r = client_call(&ctl->client, m, NULL, &reply, &ignored);
        if (r < 0)
                return r;
        r = read_u64(reply, &deadline);
        if (r < 0)
                return r;

        now = now_usec();
        *ret_left_usec = deadline > now ? deadline - now : 0;
        return deadline == 0 ? -ENODATA : 0;
}

static void warn_of_no_leash(Ctl *ctl, const char *uuid, const char *path) {
        uint64_t left_usec;
        int r;

        if (ctl->quiet)
                return;
        r = leash_deadline(ctl, path, &left_usec);
        if (r == -ENODATA) /* it has a leash */
                return;
        ctl_notice(ctl,
                   "The VM hangs on nothing yet: it is taken down again unless `aviommuctl leash "
                   "%s PID` follows within %s.",
                   uuid, r < 0 ? "the daemon's AdmissionTimeoutSec=" : FORMAT_DURATION(left_usec));
}

int verb_create(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = {
                .what = "creating the VM", .uuid = uuid, .is_change = true, .can_be_stopped = true
        };
        const char *path;
        int r;

        (void)argc;

        r = ctl_take_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        if (ctl->request.is_held) {
                r = hold_prepare(ctl, uuid);
                if (r < 0)
                        return r;
        }
        r = ctl_call_with_request(ctl, "CreateVm", &options, &m);
        if (r < 0)
                return r;
        if (sd_bus_message_read(m, "o", &path) < 0)
                return failure_set_malformed(&ctl->failure, "CreateVm");

        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "done", ctl->verb);
                doc_add_string(d, "uuid", uuid);
                doc_add_string(d, "path", path);
                output_doc(&ctl->out, d);
        } else if (!ctl->quiet || streq(argv[0], "new"))
                output_printf(&ctl->out, "%s\n", uuid);
        r = output_flush_line(&ctl->out, &ctl->failure);
        if (r < 0) {
                (void)snprintf(ctl->failure.next, sizeof(ctl->failure.next),
                               "The VM %s is there: `aviommuctl destroy %s` takes it down.", uuid,
                               uuid);
                return r;
        }

        if (ctl->request.is_held)
                return hold_vm(ctl, uuid);
        if (ctl->request.leash_pidfd < 0 && !ctl->request.is_reported)
                warn_of_no_leash(ctl, uuid, path);
        return 0;
}
