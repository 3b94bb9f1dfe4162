/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reading what people type: UUIDs, numbers, sizes, durations. Independent of the locale. */

#include "base/macro.h"

#define UUID_STRING_SIZE sizeof("00000000-0000-0000-0000-000000000000")

/* Reads a UUID with or without its dashes and writes the lower-case form with dashes. Returns 0 or -EINVAL. */
int uuid_parse(const char *s, char ret[static UUID_STRING_SIZE]);

/* Makes a random UUID (version 4). Returns 0 or a negative errno. */
int uuid_random(char ret[static UUID_STRING_SIZE]);

/* Reads a decimal, or with 0x hexadecimal, number. Returns 0, -EINVAL, -ERANGE. */
int number_parse(const char *s, uint64_t *ret);

/* The same with an optional binary suffix: K, M, G, T, and these with "iB" or "B". Returns 0, -EINVAL, -ERANGE. */
int size_parse(const char *s, uint64_t *ret_bytes);

/* Reads seconds, "2" or "0.25". Returns 0, -EINVAL, -ERANGE. */
int seconds_parse(const char *s, uint64_t *ret_usec);

/* Reads the number of a host IOMMU out of its name, "ivhd3". Returns 0 or -EINVAL. */
int host_iommu_parse(const char *s, unsigned *ret_index);
