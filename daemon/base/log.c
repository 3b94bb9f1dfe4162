/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-journal.h>

#define TEXT_SIZE 1024
/* The longest is a host's path or a sentence of the kernel's; what is longer is cut. */
#define FIELD_SIZE (TEXT_SIZE + 64)

static atomic_int max_level = LOG_INFO;
static atomic_int log_target = LOG_TARGET_AUTO;

void log_set_max_level(int level) {
        atomic_store(&max_level, level);
}

int log_get_max_level(void) {
        return atomic_load(&max_level);
}

void log_set_target(LogTarget target) {
        atomic_store(&log_target, (int)target);
}

LogTarget log_get_target(void) {
        return (LogTarget)atomic_load(&log_target);
}

static const char *const level_names[] = {
        [LOG_EMERG] = "emerg", [LOG_ALERT] = "alert",     [LOG_CRIT] = "crit",
        [LOG_ERR] = "err",     [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
        [LOG_INFO] = "info",   [LOG_DEBUG] = "debug",
};

static const char *const target_names[_LOG_TARGET_MAX] = {
        [LOG_TARGET_AUTO] = "auto",
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_CONSOLE] = "console",
        [LOG_TARGET_NULL] = "null",
};

static int name_find(const char *const *names, size_t n, const char *s) {
        for (size_t i = 0; i < n; i++)
                if (streq(names[i], s))
                        return (int)i;
        return -EINVAL;
}

const char *log_level_to_string(int level) {
        return level_names[level];
}

int log_level_from_string(const char *s, int *ret) {
        int i = name_find(level_names, ELEMENTSOF(level_names), s);

        if (i < 0)
                return i;
        *ret = i;
        return 0;
}

const char *log_target_to_string(LogTarget target) {
        return target_names[target];
}

int log_target_from_string(const char *s, LogTarget *ret) {
        int i = name_find(target_names, ELEMENTSOF(target_names), s);

        if (i < 0)
                return i;
        *ret = (LogTarget)i;
        return 0;
}

/* systemd tells in $JOURNAL_STREAM which file stderr was when it started us. */
static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(2, &st) >= 0 &&
               st.st_dev == device && st.st_ino == inode;
}

static LogTarget effective_target(void) {
        static atomic_int journal = -1;
        LogTarget target = log_get_target();

        if (target != LOG_TARGET_AUTO)
                return target;
        if (atomic_load(&journal) < 0)
                atomic_store(&journal, stderr_is_journal());
        return atomic_load(&journal) ? LOG_TARGET_JOURNAL : LOG_TARGET_CONSOLE;
}

static void send_to_journal(int level, const char *message_id, const LogFields *fields,
                            const char *text) {
        const struct {
                const char *name, *value;
        } all[] = {
                { "MESSAGE_ID", message_id },         { "AVIOMMU_VM", fields->vm },
                { "AVIOMMU_VM_NAME", fields->name },  { "AVIOMMU_FUNCTION", fields->function },
                { "AVIOMMU_IOMMU", fields->iommu },   { "AVIOMMU_REASON", fields->reason },
                { "AVIOMMU_RECORD", fields->record },
        };
        char buffers[ELEMENTSOF(all) + 2][FIELD_SIZE];
        struct iovec iov[ELEMENTSOF(buffers)];
        int n = 0;

        (void)snprintf(buffers[n++], FIELD_SIZE, "PRIORITY=%i", level);
        (void)snprintf(buffers[n++], FIELD_SIZE, "MESSAGE=%s%s%s", strempty(fields->vm),
                       fields->vm ? ": " : "", text);
        for (size_t i = 0; i < ELEMENTSOF(all); i++)
                if (all[i].value)
                        (void)snprintf(buffers[n++], FIELD_SIZE, "%s=%s", all[i].name,
                                       all[i].value);
        for (int i = 0; i < n; i++)
                iov[i] = (struct iovec){ buffers[i], strlen(buffers[i]) };
        (void)sd_journal_sendv(iov, n);
}

static void log_text(int level, const char *message_id, const LogFields *fields, const char *text) {
        switch (effective_target()) {
        case LOG_TARGET_JOURNAL:
                send_to_journal(level, message_id, fields, text);
                return;
        case LOG_TARGET_CONSOLE:
                (void)fprintf(stderr, "%s%s%s\n", strempty(fields->vm), fields->vm ? ": " : "",
                              text);
                return;
        default:
                return;
        }
}

void log_event(int level, const char *message_id, const LogFields *fields, const char *format,
               ...) {
        char text[TEXT_SIZE];
        va_list ap;

        if (level > log_get_max_level())
                return;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        log_text(level, message_id, fields ?: &(LogFields){}, text);
}

void log_vm(int level, const char *vm, const char *format, ...) {
        char text[TEXT_SIZE];
        va_list ap;

        if (level > log_get_max_level())
                return;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        log_text(level, NULL, &(LogFields){ .vm = vm }, text);
}
