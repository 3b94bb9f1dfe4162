/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Users and groups of this host, as a configuration names them: by a number, which need not be anybody's, or by a name that the host knows.
 * Waits for wherever the host has its users from. */

#include <sys/types.h>

/* Finds the user @name. Returns 0, -ESRCH (nobody's name, or no number below 2^32 - 1), -ENOMEM. */
int account_find_uid(const char *name, uid_t *ret);

/* The same of a group. */
int account_find_gid(const char *name, gid_t *ret);

/* The groups that the host has the user @uid in, the first ACCOUNT_GROUPS_MAX of them; *ret is the caller's. Returns 0, -ESRCH (nobody's number),
 * -ENOMEM. */
#define ACCOUNT_GROUPS_MAX 1024
int account_get_groups(uid_t uid, gid_t **ret, size_t *ret_n);
