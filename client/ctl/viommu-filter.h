/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The one door of seccomp. */

/* From now on this process and what it becomes get EPERM for IOMMU_VIOMMU_ALLOC, whatever the descriptor; and no program that it runs
 * gains privileges (PR_SET_NO_NEW_PRIVS). Returns 0 or a negative errno;
 * -EOPNOTSUPP on another architecture than x86-64. */
int viommu_filter_install(void);
