/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes the documents that `aviommuctl define` reads. What is taken can be written, and is taken again then, and has the same UUID and
 * as many functions. */

#include <stdio.h>

#include "ctl/definition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the daemon would have kept it. */
static Doc *write_again(const DefinitionFile *f) {
        const Request *q = &f->request;

        return definition_to_doc(f->uuid, &(Definition){ .name = q->name,
                                                         .tier = q->tier,
                                                         .handover = q->handover,
                                                         .tenant = q->tenant,
                                                         .memory = q->memory_bytes,
                                                         .guest_domains = q->n_guest_domains,
                                                         .autostart = q->is_autostart,
                                                         .functions = q->functions,
                                                         .n_functions = q->n_functions });
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(definition_file_done) DefinitionFile f = { .request.leash_pidfd = -1 },
                                                       again = { .request.leash_pidfd = -1 };
        _cleanup_free_ char *text = malloc(size + 1), *written = NULL;
        _cleanup_(doc_freep) Doc *d = NULL;
        Failure failure = {};

        if (!text)
                return -1;
        memcpy(text, data, size);
        text[size] = '\0';
        if (definition_file_parse("input", text, size, &f, &failure) < 0) {
                assert(failure.exit_code == CLIENT_EXIT_USAGE && failure.text[0]);
                return 0;
        }
        if (!*f.uuid)
                memcpy(f.uuid, "00112233-4455-6677-8899-aabbccddeeff", sizeof(f.uuid));
        d = write_again(&f);
        written = doc_format(d, false);
        assert(definition_file_parse("output", written, strlen(written), &again, &failure) == 0);
        assert(streq(again.uuid, f.uuid) && again.request.n_functions == f.request.n_functions &&
               again.request.memory_bytes == f.request.memory_bytes &&
               again.request.n_guest_domains == f.request.n_guest_domains);
        return 0;
}
