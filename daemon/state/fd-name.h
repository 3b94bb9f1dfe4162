/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The names under which descriptors lie in the fd store: a number in base 36, lower case. Which descriptor of which VM it is, is
 * the record's to say; one that no record names belongs to nothing. Pure.
 *
 * Names are short because the service manager passes all of them in one environment variable, and an execve() takes no
 * string of more than 128 KiB: with more of them a service could not be started again.
 */

#include "base/macro.h"

#define FD_ID_MAX    UINT32_C(46655) /* "zzz" */
#define FD_NAME_SIZE 4

/* How many descriptors can have names in one string of 128 KiB, with what separates them and the name of the variable. */
#define FD_NAMES_MAX UINT64_C(32000)

/* @id: 1 to FD_ID_MAX. Returns @buf. */
char *fd_name_format(uint32_t id, char buf[static FD_NAME_SIZE]);
#define FD_NAME_STRING(id) fd_name_format((id), (char[FD_NAME_SIZE]){})

/* Exactly what fd_name_format() writes, or -EINVAL. */
int fd_name_parse(const char *s, uint32_t *ret);
