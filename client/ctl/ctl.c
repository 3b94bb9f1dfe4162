/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>

#include "lib/alloc.h"
#include "lib/format.h"

int ctl_usage(Ctl *ctl, const char *format, ...) {
        char next[128];
        va_list ap;
        int r;

        (void)snprintf(next, sizeof(next), "`%s %s%s--help` says what is possible.",
                       program_invocation_short_name, strempty(ctl->verb), ctl->verb ? " " : "");
        r = failure_set(&ctl->failure, CLIENT_EXIT_USAGE, -EINVAL, next, "%s", "");
        va_start(ap, format);
        (void)vsnprintf(ctl->failure.text, sizeof(ctl->failure.text), format, ap);
        va_end(ap);
        return r;
}

int ctl_parse_uuid(Ctl *ctl, const char *argument, char ret[static UUID_STRING_SIZE]) {
        if (uuid_parse(argument, ret) < 0)
                return failure_set(
                        &ctl->failure, CLIENT_EXIT_USAGE, -EINVAL,
                        "A VM to come wants a UUID, or \"new\"; its name goes with --name.",
                        "\"%s\" is not a UUID (32 hexadecimal digits, 8-4-4-4-12)", argument);
        return 0;
}

int ctl_parse_address(Ctl *ctl, const char *argument, char ret[static PCI_ADDRESS_STRING_SIZE]) {
        PciAddress a;

        if (pci_address_parse(argument, &a) < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_USAGE, -EINVAL,
                                   "`aviommuctl functions` lists the functions of this host.",
                                   "\"%s\" is not the address of a PCI function (SSSS:BB:DD.F)",
                                   argument);
        pci_address_format(&a, ret);
        return 0;
}

void ctl_report(Ctl *ctl, const char *prefix) {
        failure_print(&ctl->failure, prefix);
        if (ctl->exit_code == CLIENT_EXIT_OK)
                ctl->exit_code = ctl->failure.exit_code;
}

void ctl_notice(Ctl *ctl, const char *format, ...) {
        va_list ap;

        if (ctl->quiet)
                return;
        va_start(ap, format);
        (void)vfprintf(stderr, format, ap);
        va_end(ap);
        (void)fputc('\n', stderr);
}

void ctl_say_changed(const Ctl *ctl, Failure *unwritten) {
        if (ctl->client.has_changed)
                (void)snprintf(unwritten->next, sizeof(unwritten->next),
                               "What was to be changed has been changed: only the word of it is "
                               "lost.");
}

int ctl_flush_line(Ctl *ctl) {
        int r = output_flush_line(&ctl->out, &ctl->failure);

        if (r < 0)
                ctl_say_changed(ctl, &ctl->failure);
        return r;
}

void ctl_done(Ctl *ctl, const char *uuid, const char *key, const char *value, const char *format,
              ...) {
        _cleanup_free_ char *sentence = NULL;
        va_list ap;

        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "done", ctl->verb);
                if (uuid)
                        doc_add_string(d, "uuid", uuid);
                if (key)
                        doc_add_string(d, key, value);
                output_doc(&ctl->out, d);
                return;
        }
        if (ctl->quiet)
                return;

        va_start(ap, format);
        if (vasprintf(&sentence, format, ap) < 0)
                alloc_failed();
        va_end(ap);
        output_printf(&ctl->out, "%s\n", sentence);
}

int ctl_call_vm(Ctl *ctl, const CallOptions *options, const char *member,
                sd_bus_message **ret_reply, const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list ap;
        int r;

        r = client_new_call(&ctl->client, VM_PATH(options->uuid), AVIOMMU_VM_INTERFACE, member, &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        if (types) {
                va_start(ap, types);
                r = sd_bus_message_appendv(m, types, ap);
                va_end(ap);
                if (r < 0)
                        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                           "Cannot put the call of %s together: %s", member,
                                           strerror(-r));
        }
        return client_call(&ctl->client, m, options, ret_reply, &ctl->failure);
}
