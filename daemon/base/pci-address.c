/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/pci-address.h"

#include <errno.h>
#include <stdio.h>

int pci_address_compare(const PciAddress *a, const PciAddress *b) {
        uint32_t x = (uint32_t)a->segment << 16 | pci_address_bdf(a),
                 y = (uint32_t)b->segment << 16 | pci_address_bdf(b);

        return (x > y) - (x < y);
}

/* Reads exactly @n_digits hexadecimal digits and the terminator @end after them; NULL when they are not there. */
static const char *hex_field(const char *s, unsigned n_digits, char end, unsigned *ret) {
        unsigned v = 0;

        for (unsigned i = 0; i < n_digits; i++, s++) {
                unsigned digit;

                if (*s >= '0' && *s <= '9')
                        digit = (unsigned)(*s - '0');
                else if (*s >= 'a' && *s <= 'f')
                        digit = (unsigned)(*s - 'a') + 10;
                else if (*s >= 'A' && *s <= 'F')
                        digit = (unsigned)(*s - 'A') + 10;
                else
                        return NULL;
                v = v << 4 | digit;
        }

        if (*s != end)
                return NULL;
        *ret = v;
        return end ? s + 1 : s;
}

static int parse_bdf(const char *s, uint8_t *ret_bus, uint8_t *ret_devfn) {
        unsigned bus, device, function;

        s = hex_field(s, 2, ':', &bus);
        s = s ? hex_field(s, 2, '.', &device) : NULL;
        s = s ? hex_field(s, 1, '\0', &function) : NULL;
        if (!s || device > 0x1f || function > 7)
                return -EINVAL;

        *ret_bus = (uint8_t)bus;
        *ret_devfn = (uint8_t)(device << 3 | function);
        return 0;
}

int pci_address_parse(const char *s, PciAddress *ret) {
        unsigned segment = 0;
        PciAddress a = {};
        const char *rest;
        int r;

        rest = hex_field(s, 4, ':', &segment);
        r = parse_bdf(rest ?: s, &a.bus, &a.devfn);
        if (r < 0)
                return r;

        a.segment = (uint16_t)segment;
        *ret = a;
        return 0;
}

char *pci_address_format(const PciAddress *a, char buf[static PCI_ADDRESS_STRING_SIZE]) {
        (void)snprintf(buf, PCI_ADDRESS_STRING_SIZE, "%04x:%02x:%02x.%x", a->segment, a->bus,
                       a->devfn >> 3, a->devfn & 7);
        return buf;
}

int guest_device_id_parse(const char *s, GuestDeviceId *ret) {
        uint8_t bus, devfn;
        int r;

        r = parse_bdf(s, &bus, &devfn);
        if (r < 0)
                return r;

        ret->bdf = (uint16_t)(bus << 8 | devfn);
        return 0;
}

char *guest_device_id_format(GuestDeviceId id, char buf[static GUEST_DEVICE_ID_STRING_SIZE]) {
        (void)snprintf(buf, GUEST_DEVICE_ID_STRING_SIZE, "%02x:%02x.%x", id.bdf >> 8,
                       id.bdf >> 3 & 0x1f, id.bdf & 7);
        return buf;
}
