/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/check-common.h"

#include <errno.h>

#include "doctor/parse.h"

bool facts_is_amd(const Facts *facts) {
        const Blob *b = &facts->firmware.processors;
        char vendor[32];

        return b->error < 0 || !processor_vendor(b->data, vendor, sizeof(vendor)) ||
               streq(vendor, "AuthenticAMD") || streq(vendor, "HygonGenuine");
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
