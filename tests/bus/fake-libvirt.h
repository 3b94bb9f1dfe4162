/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What libvirt's test driver lacks of QEMU's, put between it and the agent by the linker: associations of file descriptors,
 * <iommufd> in the XML, PCI functions that are plugged in and out, and a daemon that goes away. All else is the test driver.
 *
 * From any thread, unless it says otherwise.
 */

#include <libvirt/libvirt.h>
#include <systemd/sd-id128.h>

#include "base/macro.h"

/* As before a test: nothing is associated, and everything works. */
void fake_libvirt_reset(void);

/* virDomainFDAssociate() is the test driver's, which does not have it. */
void fake_libvirt_lack_associations(bool lack);

/* virDomainFDAssociate() returns only when it is told to. */
void fake_libvirt_block(bool block);
bool fake_libvirt_is_blocked(void);

/* A duplicate, the caller's, of the descriptor that is associated with a domain; -1: none. */
int fake_libvirt_get_associated(sd_id128_t uuid);

/* Forgets the association of a domain, as libvirt does when it is undefined. */
void fake_libvirt_dissociate(sd_id128_t uuid);

/* XML for the <devices> of running domains; @devices is copied. */
void fake_libvirt_set_devices(const char *devices);

/* Whether definitions have <iommufd>, and want a context with it; at first they do. */
void fake_libvirt_set_wanting(bool wanting);

/* The XML of the domains whose names begin with "vm-" is not to be had, or is again. */
void fake_libvirt_withhold_xml(bool withhold);

/* How often the XML of running domains has been read. */
unsigned fake_libvirt_count_looks(void);

/* What becomes of domains is not told any more: it comes too late, or never. */
void fake_libvirt_be_silent(bool silent);

/* Has libvirt's thread tell of a device that was added or removed. */
void fake_libvirt_tell_device(bool added, const char *domain);

/* Connections fail from now on, and those that there are are lost; or it is all well again. */
void fake_libvirt_set_reachable(bool reachable);
