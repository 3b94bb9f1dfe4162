/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

static atomic_int max_level = LOG_INFO;

void log_set_max_level(int level) {
        atomic_store(&max_level, level);
}

int log_get_max_level(void) {
        return atomic_load(&max_level);
}

/* systemd tells in $JOURNAL_STREAM which file stderr was when it started us. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(2, &st) >= 0 &&
               st.st_dev == device && st.st_ino == inode;
}

void log_vm(int level, const char *vm, const char *format, ...) {
        static atomic_int journal = -1;
        char text[1024];
        va_list ap;

        if (level > log_get_max_level())
                return;
        if (atomic_load(&journal) < 0)
                atomic_store(&journal, stderr_is_journal());

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        if (!atomic_load(&journal))
                (void)fprintf(stderr, "%s%s%s\n", strempty(vm), vm ? ": " : "", text);
        else if (vm)
                (void)sd_journal_send("MESSAGE=%s: %s", vm, text, "PRIORITY=%i", level,
                                      "AVIOMMU_VM=%s", vm, NULL);
        else
                (void)sd_journal_send("MESSAGE=%s", text, "PRIORITY=%i", level, NULL);
}
