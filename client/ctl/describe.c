/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl describe: the VM as a document, or as what its VMM is to be told.
 */
#include "ctl/ctl.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"

/* Goes to programs as it is; a terminal gets nothing that could steer it. */
static void print_text(Output *o, const char *text) {
        size_t n;

        for (; *text; text += n) {
                _cleanup_free_ char *line = NULL, *shown = NULL;

                n = (size_t)(strchrnul(text, '\n') - text);
                line = alloc_check(strndup(text, n));
                if (o->is_tty)
                        shown = alloc_check(text_escape_new(line));
                output_printf(o, "%s\n", shown ?: line);
                n += text[n] == '\n';
        }
}

int verb_describe(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = "asking for the description" };
        const char *format = ctl->format ?: "json", *text;
        char uuid[UUID_STRING_SIZE];
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        options.uuid = uuid;
        r = ctl_call_vm(ctl, &options, "Describe", &m, "s", format);
        if (r < 0)
                return r;
        if (sd_bus_message_read(m, "s", &text) < 0)
                return failure_set_malformed(&ctl->failure, "Describe");

        if (ctl->out.json != JSON_OFF) {
                _cleanup_(doc_freep) Doc *d = doc_new();

                doc_add_string(d, "uuid", uuid);
                doc_add_string(d, "format", format);
                doc_add_string(d, "text", text);
                output_doc(&ctl->out, d);
        } else
                print_text(&ctl->out, text);
        return 0;
}
