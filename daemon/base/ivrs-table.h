/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The ACPI IVRS table as a row of blocks; what is in them is for others to read. */

#include "base/macro.h"

enum {
        IVHD_TYPE_10 = 0x10,
        IVHD_TYPE_11 = 0x11, /* with an image of EFR and EFR2 */
        IVHD_TYPE_40 = 0x40, /* ... and with devices that have no PCI address */
};

/* A block: @size is at least 4, @data[0] its type. Anything but 0 ends the walk. */
typedef int (*IvrsBlockHandler)(const uint8_t *data, size_t size, void *userdata);

/* Calls @handler for each block of the IVRS table in the @size bytes at @data, in the table's order. Nothing outside them
 * is read, whatever lengths the table claims, and what comes behind the table is no part of it.
 * Returns 0, -EBADMSG (no IVRS table, or one that ends in the midst of something; blocks before that have been told), or
 * what the handler returned.
 * Spec: 48882, I/O Virtualization Reporting Structure */
int ivrs_for_each_block(const uint8_t *data, size_t size, IvrsBlockHandler handler, void *userdata);
