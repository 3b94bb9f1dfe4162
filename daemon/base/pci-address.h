/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* PCI addresses, SSSS:BB:DD.F, and the 16-bit device ids made of them. */

#include "base/macro.h"

typedef struct PciAddress {
        uint16_t segment;
        uint8_t bus;
        uint8_t devfn; /* device << 3 | function */
} PciAddress;

/* The 16-bit device id (BDF) under which a guest sees a function. A type of its own: it is no host address. */
typedef struct GuestDeviceId {
        uint16_t bdf; /* bus << 8 | devfn */
} GuestDeviceId;

#define PCI_ADDRESS_STRING_SIZE     sizeof("ffff:ff:1f.7")
#define GUEST_DEVICE_ID_STRING_SIZE sizeof("ff:1f.7")

static inline uint16_t pci_address_bdf(const PciAddress *a) {
        return (uint16_t)(a->bus << 8 | a->devfn);
}

int pci_address_compare(const PciAddress *a, const PciAddress *b);

static inline bool pci_address_equal(const PciAddress *a, const PciAddress *b) {
        return pci_address_compare(a, b) == 0;
}

/* Parses "SSSS:BB:DD.F" or "BB:DD.F" (segment 0), hexadecimal, nothing before or after.
 * Returns 0 or -EINVAL; *ret is written on success only. */
int pci_address_parse(const char *s, PciAddress *ret);

/* Writes the full, lower-case form. Returns @buf. */
char *pci_address_format(const PciAddress *a, char buf[static PCI_ADDRESS_STRING_SIZE]);

#define PCI_ADDRESS_STRING(a) pci_address_format((a), (char[PCI_ADDRESS_STRING_SIZE]){})

/* Parses the guest's "BB:DD.F". Returns 0 or -EINVAL. */
int guest_device_id_parse(const char *s, GuestDeviceId *ret);

char *guest_device_id_format(GuestDeviceId id, char buf[static GUEST_DEVICE_ID_STRING_SIZE]);

#define GUEST_DEVICE_ID_STRING(id)                                                                 \
        guest_device_id_format((id), (char[GUEST_DEVICE_ID_STRING_SIZE]){})
