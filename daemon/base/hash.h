/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* uthash, told to survive a want of memory: an item that could not be added has hh.tbl == NULL. */

#define HASH_NONFATAL_OOM         1
#define uthash_nonfatal_oom(item) ((void)(item))
#include <uthash.h>
