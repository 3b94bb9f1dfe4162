/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What libvirt gives on stdin. */

#include "hook/watch.h"

/* Reads @fd to its end, at most @size_max bytes, as long as there is time. *ret is NUL-terminated and the caller's to free.
 * Returns 0, -EFBIG, -ETIMEDOUT (the writer does not end), -ENOMEM, or an errno of reading; *ret and *ret_length are what was read until
 * then (NULL: nothing at all). */
int input_read(int fd, size_t size_max, Watch *watch, char **ret, size_t *ret_length);
