/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Logging: to the journal with fields when stderr is connected to it, otherwise lines on stderr. Who finishes an error logs
 * it, once: core, bus and main. Levels are syslog's.
 */

#include <syslog.h>

#include "base/macro.h"

/* Messages above this level are dropped. Starts at LOG_INFO. */
void log_set_max_level(int level);
int log_get_max_level(void);

/* @vm: the VM's UUID in its usual form, or NULL; becomes AVIOMMU_VM= in the journal and a prefix on stderr. */
void log_vm(int level, const char *vm, const char *format, ...) _printf_(3, 4);

#define log_msg(level, ...) log_vm((level), NULL, __VA_ARGS__)
