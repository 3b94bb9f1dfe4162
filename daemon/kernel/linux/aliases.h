/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The further ids under which the DMA of a PCI function may reach an IOMMU. */

#include "kernel/linux/linux-private.h"

/* The alias entries of the IVRS table, as read once per scan. Free with alias_table_free(). */
typedef struct AliasTable AliasTable;

/* Reads the first of the IVRS files that can be read. Where there is none, the table is empty; of a broken one it holds
 * what comes before the break. Returns 0 or -ENOMEM. */
int alias_table_new(LinuxKernel *l, AliasTable **ret);
AliasTable *alias_table_free(AliasTable *t);
DEFINE_CLEANUP(AliasTable, alias_table_free);

/* Fills the aliases of @f, whose address is set, from the bridges above it and
 * from @t. Ids beyond PCI_FUNCTION_ALIASES_MAX are left out. */
void aliases_read(LinuxKernel *l, const AliasTable *t, PciFunctionInfo *f);
