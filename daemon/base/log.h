/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Logging: to the journal with fields when stderr is connected to it, otherwise lines on stderr. Who finishes an error logs
 * it, once: core, bus and main. Levels are syslog's.
 */

#include <syslog.h>

#include "base/macro.h"
#include "base/message-id.h"

typedef enum LogTarget {
        LOG_TARGET_AUTO, /* the journal where stderr is connected to it, else stderr */
        LOG_TARGET_JOURNAL,
        LOG_TARGET_CONSOLE, /* stderr */
        LOG_TARGET_NULL,
        _LOG_TARGET_MAX,
} LogTarget;

/* Messages above this level are dropped. Starts at LOG_INFO. */
void log_set_max_level(int level);
int log_get_max_level(void);

/* Where messages go from now on. Starts at LOG_TARGET_AUTO. */
void log_set_target(LogTarget target);
LogTarget log_get_target(void);

/* "debug", "info", ... as systemd calls them. The parsers return -EINVAL for anything else; numbers are none. */
const char *log_level_to_string(int level);
int log_level_from_string(const char *s, int *ret);
const char *log_target_to_string(LogTarget target);
int log_target_from_string(const char *s, LogTarget *ret);

/* What a message is about, each a field of the journal; NULL: not about that. */
typedef struct LogFields {
        const char *vm; /* AVIOMMU_VM=, a UUID in its usual form; a prefix of the line on stderr */
        const char *name;     /* AVIOMMU_VM_NAME= */
        const char *function; /* AVIOMMU_FUNCTION=, SSSS:BB:DD.F */
        const char *iommu;    /* AVIOMMU_IOMMU=, ivhdN */
        const char *reason;   /* AVIOMMU_REASON=: why, a word of the API or a sentence */
        const char *record;   /* AVIOMMU_RECORD=: id of a record in the runtime directory */
} LogFields;

/* @message_id: one of base/message-id.h, or NULL. @fields may be NULL. */
void log_event(int level, const char *message_id, const LogFields *fields, const char *format, ...)
        _printf_(4, 5);

/* @vm: as in LogFields. */
void log_vm(int level, const char *vm, const char *format, ...) _printf_(3, 4);

#define log_msg(level, ...) log_vm((level), NULL, __VA_ARGS__)
