/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl define, modify, undefine and start: VMs that are there again, for VMMs without libvirt.
 */
#include "ctl/definition.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"

/* A call of the Manager's about the definition of @uuid. */
static int new_call(Ctl *ctl, const char *member, const char *uuid, sd_bus_message **ret) {
        int r;

        r = client_new_call(&ctl->client, AVIOMMU_PATH, AVIOMMU_MANAGER_INTERFACE, member, ret,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(*ret, "s", uuid);
        return r < 0 ? failure_set_connection(&ctl->failure, r, NULL) : 0;
}

static int check_appended(Ctl *ctl, int r) {
        if (r == -EINVAL)
                return ctl_usage(ctl, "A name, tier, handover or tenant is not a text in UTF-8");
        return r < 0 ? failure_set_connection(&ctl->failure, r, NULL) : 0;
}

/* ---- define, modify ---- */

/* What DefineVm and ModifyDefinition answer: why a start would be refused now, or nothing. */
static int say_written(Ctl *ctl, const char *uuid, sd_bus_message *reply, const char *member,
                       const char *done) {
        const char *warning;
        int r;

        if (sd_bus_message_read(reply, "s", &warning) < 0)
                return failure_set_malformed(&ctl->failure, member);
        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "done", ctl->verb);
                doc_add_string(d, "uuid", uuid);
                doc_add_string(d, "warning", *warning ? warning : NULL);
                output_doc(&ctl->out, d);
        } else if (!ctl->quiet || streq(member, "DefineVm"))
                output_printf(&ctl->out, "%s\n", uuid);
        r = ctl_flush_line(ctl);
        if (r >= 0 && *warning) {
                _cleanup_free_ char *harmless = text_escape_new(warning);

                if (!harmless)
                        alloc_failed();
                ctl_notice(ctl, "%s, but a start would be refused now: %s", done, harmless);
        }
        return r;
}

static bool is_said(const Request *q) {
        return q->name || q->tier || q->handover || q->tenant || q->n_functions > 0 ||
               q->has_memory || q->has_guest_domains || q->n_removed > 0;
}

/* What is to be defined, and under which UUID: from the command line, or from a document. */
static int take_definition(Ctl *ctl, int argc, char **argv, DefinitionFile *ret,
                           char ret_uuid[static UUID_STRING_SIZE]) {
        Request *q = &ret->request;
        int r;

        if (!ctl->definition_file) {
                if (argc == 0)
                        return ctl_usage(ctl, "define wants UUID, or --file=FILE");
                request_done(q);
                *q = ctl->request;
                ctl->request = (Request){ .leash_pidfd = -1 };
                return ctl_take_uuid(ctl, argv[0], ret_uuid);
        }
        if (is_said(&ctl->request))
                return ctl_usage(ctl, "--file= has what the VM takes: leave the other options out, "
                                      "or the file");
        r = definition_file_read(ctl->definition_file, ret, &ctl->failure);
        if (r < 0)
                return r;
        if (ctl->request.has_autostart) {
                q->has_autostart = true;
                q->is_autostart = ctl->request.is_autostart;
        }
        if (argc > 0)
                return ctl_take_uuid(ctl, argv[0], ret_uuid);
        if (!*ret->uuid)
                return ctl_usage(ctl, "The file has no \"uuid\": give it, or \"new\"");
        memcpy(ret_uuid, ret->uuid, UUID_STRING_SIZE);
        return 0;
}

int verb_define(Ctl *ctl, int argc, char **argv) {
        _cleanup_(definition_file_done) DefinitionFile f = { .request.leash_pidfd = -1 };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = { .what = "defining the VM", .uuid = uuid, .is_change = true };
        int r;

        r = take_definition(ctl, argc, argv, &f, uuid);
        if (r >= 0)
                r = new_call(ctl, "DefineVm", uuid, &m);
        if (r < 0)
                return r;
        r = request_append(&f.request, m);
        if (r >= 0)
                r = ctl->is_replaced ? sd_bus_message_append(m, "a{sv}", 1, "replace", "b", true)
                                     : sd_bus_message_append(m, "a{sv}", 0);
        r = check_appended(ctl, r);
        if (r >= 0)
                r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        return r < 0 ? r : say_written(ctl, uuid, reply, "DefineVm", "Defined");
}

int verb_modify(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = { .what = "changing the definition",
                                .uuid = uuid,
                                .is_change = true };
        int r;

        (void)argc;

        if (!is_said(&ctl->request) && !ctl->request.has_autostart)
                return ctl_usage(ctl, "modify wants something to change");
        r = definition_resolve(ctl, argv[0], uuid);
        if (r >= 0)
                r = new_call(ctl, "ModifyDefinition", uuid, &m);
        if (r < 0)
                return r;
        r = check_appended(ctl, request_append_changes(&ctl->request, m));
        if (r >= 0)
                r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        return r < 0 ? r : say_written(ctl, uuid, reply, "ModifyDefinition", "Changed");
}

/* ---- undefine ---- */

int verb_undefine(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = { .what = "taking the definition back",
                                .uuid = uuid,
                                .is_change = true };
        int r;

        (void)argc;

        r = definition_resolve(ctl, argv[0], uuid);
        if (r >= 0)
                r = new_call(ctl, "UndefineVm", uuid, &m);
        if (r >= 0)
                r = client_call(&ctl->client, m, &options, NULL, &ctl->failure);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, NULL, NULL, "%s is not defined any more.", uuid);
        return 0;
}

/* ---- start ---- */

static int append_leash(const Request *q, sd_bus_message *m) {
        if (q->is_reported)
                return sd_bus_message_append(m, "a{sv}", 1, "leash", "s", "agent");
        if (q->leash_pidfd >= 0)
                return sd_bus_message_append(m, "a{sv}", 1, "leash-pidfd", "h", q->leash_pidfd);
        return sd_bus_message_append(m, "a{sv}", 0);
}

int verb_start(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        char uuid[UUID_STRING_SIZE];
        CallOptions options = {
                .what = "creating the VM", .uuid = uuid, .is_change = true, .can_be_stopped = true
        };
        const char *path;
        int r;

        (void)argc;

        r = definition_resolve(ctl, argv[0], uuid);
        if (r >= 0)
                r = new_call(ctl, "StartDefinition", uuid, &m);
        if (r < 0)
                return r;
        r = check_appended(ctl, append_leash(&ctl->request, m));
        if (r >= 0)
                r = client_call(&ctl->client, m, &options, &reply, &ctl->failure);
        if (r < 0)
                return r;
        if (sd_bus_message_read(reply, "o", &path) < 0)
                return failure_set_malformed(&ctl->failure, "StartDefinition");
        ctl_done(ctl, uuid, "path", path, "%s is admitted.", uuid);
        r = ctl_flush_line(ctl);
        if (r >= 0 && ctl->request.leash_pidfd < 0 && !ctl->request.is_reported)
                ctl_notice(ctl,
                           "It waits for its VMM: `aviommuctl leash %s PID` hangs it on a process, "
                           "`aviommuctl destroy %s` takes it down.",
                           uuid, uuid);
        return r;
}
