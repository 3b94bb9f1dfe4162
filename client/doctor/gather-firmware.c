/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/gather.h"

#include <stdio.h>

#include "lib/alloc.h"

/* Root copies the table for the daemon when it starts (aviommud.service). */
static void read_ivrs(int root_fd, Blob *ret) {
        Blob copy;

        blob_read(root_fd, "sys/firmware/acpi/tables/IVRS", ret);
        if (ret->error != -EACCES)
                return;
        blob_read(root_fd, "run/aviommu-host/ivrs", &copy);
        if (copy.error == 0)
                *ret = copy;
}

void gather_firmware(int root_fd, const BusFacts *bus, FirmwareFacts *ret) {
        *ret = (FirmwareFacts){};
        blob_read(root_fd, "proc/cpuinfo", &ret->processors);
        read_ivrs(root_fd, &ret->ivrs);
        for (size_t i = 0; i < bus->n_hosts; i++) {
                const BusHost *h = &bus->hosts[i];
                IommuSpace s = { .name = h->name, .address = h->pci_address };
                char path[64];
                PciAddress a;

                if (!streq(h->vendor, "amd") || pci_address_parse(h->pci_address, &a) < 0)
                        continue;
                (void)snprintf(path, sizeof(path), "sys/bus/pci/devices/%s/config",
                               PCI_ADDRESS_STRING(&a));
                blob_read(root_fd, path, &s.config);
                ret->spaces = alloc_grow(ret->spaces, ret->n_spaces, sizeof(IommuSpace));
                ret->spaces[ret->n_spaces++] = s;
        }
}
