/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Versions of libvirt and QEMU as libvirt writes them, one number each, and since which of them can what. */

#include "base/macro.h"

#define VERSION(major, minor) ((uint64_t)(major) * 1000000 + (minor) * 1000)

#define LIBVIRT_WITH_VIRTIO  VERSION(8, 3)  /* <iommu model='virtio'> */
#define LIBVIRT_WITH_AMD     VERSION(11, 5) /* <iommu model='amd'> */
#define LIBVIRT_WITH_IOMMUFD VERSION(12, 1) /* <hostdev> on an iommufd */
#define LIBVIRT_WITH_FDGROUP VERSION(12, 2) /* ... that somebody else has opened */

#define QEMU_WITH_VIRTIO    VERSION(7, 0)  /* virtio-iommu on x86 */
#define QEMU_WITH_DMA_REMAP VERSION(10, 2) /* amd-iommu.dma-remap=on */

#define VERSION_STRING_SIZE 32

/* "12.8.0"; "-" for 0. Returns @buf. */
char *version_format(uint64_t version, char buf[static VERSION_STRING_SIZE]);
#define VERSION_STRING(version) version_format((version), (char[VERSION_STRING_SIZE]){})

/* Reads the first "N.N" or "N.N.N" that a word of @text is or begins with, as in what `qemu-system-x86_64 --version` says.
 * Numbers are below 1000. Returns 0 or -EINVAL. */
int version_parse(const char *text, uint64_t *ret);
