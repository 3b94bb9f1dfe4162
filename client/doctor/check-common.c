/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/check-common.h"

#include <errno.h>

#include "doctor/parse.h"

typedef enum Processor {
        PROCESSOR_UNKNOWN, /* cannot be read */
        PROCESSOR_AMD,
        PROCESSOR_INTEL,
        PROCESSOR_FOREIGN,
} Processor;

static Processor processor_of(const Facts *facts) {
        const Blob *b = &facts->firmware.processors;
        char vendor[32];

        if (b->error < 0)
                return PROCESSOR_UNKNOWN;
        if (!processor_vendor(b->data, vendor, sizeof(vendor)))
                return PROCESSOR_FOREIGN;
        return streq(vendor, "AuthenticAMD") || streq(vendor, "HygonGenuine") ? PROCESSOR_AMD
                                                                              : PROCESSOR_INTEL;
}

bool facts_may_be_x86(const Facts *facts) {
        return processor_of(facts) != PROCESSOR_FOREIGN;
}

bool facts_may_be_amd(const Facts *facts) {
        Processor p = processor_of(facts);

        return p == PROCESSOR_AMD || p == PROCESSOR_UNKNOWN;
}

bool facts_may_be_intel(const Facts *facts) {
        Processor p = processor_of(facts);

        return p == PROCESSOR_INTEL || p == PROCESSOR_UNKNOWN;
}

typedef struct WordSearch {
        const char *name, *value;
        bool is_found;
} WordSearch;

static void search_word(const char *word, void *userdata) {
        WordSearch *s = userdata;

        s->is_found |= command_line_has(word, s->name, s->value);
}

bool facts_command_line_has(const Facts *facts, const char *name, const char *value) {
        const Blob *b = &facts->kernel.command_line;
        WordSearch s = { .name = name, .value = value };

        if (b->error == 0)
                command_line_for_each(b->data, search_word, &s);
        return s.is_found;
}

void finding_add_unanswered(Findings *out, FindingId id, const char *what, const Failure *failure) {
        finding_add(out, id, LEVEL_UNCHECKED, "aviommud does not tell %s: %s", what, failure->text);
        if (failure->exit_code == CLIENT_EXIT_DENIED)
                finding_mend(out, "sudo aviommuctl doctor");
}

void finding_add_unreadable(Findings *out, FindingId id, const char *path, int error) {
        finding_add(out, id, LEVEL_UNCHECKED, "%s cannot be read: %s", path, strerror(-error));
        if (error == -EACCES || error == -EPERM)
                finding_mend(out, "sudo aviommuctl doctor");
}
