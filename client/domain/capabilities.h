/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What libvirt says that domains can have: its <domainCapabilities>. */

#include "base/macro.h"

/* Whether the enumeration @name of the device @device ("hostdev") has the value @value. Returns 0, the answer in *ret; -ENODATA: this
 * libvirt has no such enumeration; -EINVAL, -E2BIG: what cannot be read; -ENOMEM. */
int capabilities_enumerate(const char *xml, const char *device, const char *name, const char *value,
                           bool *ret);
