/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A parser for the one thing wanted of the ACPI IVRS table: under which other ids functions reach an AMD IOMMU. */

#include "base/macro.h"

/* One alias entry: functions @first to @last of @segment may appear as @alias. Anything but 0 ends the walk. */
typedef int (*IvrsAliasHandler)(uint16_t segment, uint16_t first, uint16_t last, uint16_t alias,
                                void *userdata);

/* Calls @handler for each alias entry of the IVRS table in the @size bytes at @data, in the table's order. Nothing
 * outside them is read, whatever lengths the table claims.
 * Returns 0, -EBADMSG (no IVRS table, or one that ends in the midst of something; entries before that have been told),
 * or what the handler returned.
 * Spec: 48882, I/O Virtualization Reporting Structure; IVHD device entries 0x42, 0x43, 0x04 */
int ivrs_for_each_alias(const uint8_t *data, size_t size, IvrsAliasHandler handler, void *userdata);
