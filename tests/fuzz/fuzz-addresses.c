/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes what names things in requests: PCI addresses, guest device ids, object paths. What is taken can be written again. */

#include "base/pci-address.h"
#include "bus/bus-path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = strndup((const char *)data, size);
        GuestDeviceId id, id_again;
        PciAddress a, a_again;
        uint32_t host_iommu;
        sd_id128_t uuid;

        if (!s)
                return -1;
        if (pci_address_parse(s, &a) >= 0) {
                assert(pci_address_parse(PCI_ADDRESS_STRING(&a), &a_again) >= 0);
                assert(pci_address_equal(&a, &a_again));
        }
        if (guest_device_id_parse(s, &id) >= 0) {
                assert(guest_device_id_parse(GUEST_DEVICE_ID_STRING(id), &id_again) >= 0);
                assert(id.bdf == id_again.bdf);
        }
        if (bus_path_parse_vm(s, &uuid, NULL) >= 0)
                assert(strncmp(BUS_VM_PATH(uuid), s, BUS_VM_PATH_SIZE - 1) == 0);
        if (bus_path_parse_vm(s, &uuid, &host_iommu) >= 0)
                assert(strcmp(BUS_VIOMMU_PATH(uuid, host_iommu), s) == 0);
        return 0;
}
