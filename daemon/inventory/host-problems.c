/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What this host lacks, in sentences for an administrator. Each says what is missing and what to do. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "inventory/inventory.h"

typedef struct Sentences {
        char **items;
        size_t n_items;
        int error;
} Sentences;

static void add(Sentences *s, const char *format, ...) _printf_(2, 3);

static void add(Sentences *s, const char *format, ...) {
        char **grown = reallocarray(s->items, s->n_items + 2, sizeof(char *));
        va_list ap;

        if (!grown) {
                s->error = -ENOMEM;
                return;
        }
        s->items = grown;
        s->items[s->n_items] = NULL;

        va_start(ap, format);
        if (vasprintf(s->items + s->n_items, format, ap) < 0) {
                s->items[s->n_items] = NULL;
                s->error = -ENOMEM;
        } else
                s->items[++s->n_items] = NULL;
        va_end(ap);
}

static void describe_iommus(const Inventory *inv, Sentences *s) {
        const HostScan *scan = inventory_get_scan(inv);
        size_t n_amd = 0;

        for (size_t i = 0; i < scan->n_iommus; i++)
                n_amd += scan->iommus[i].vendor == IOMMU_VENDOR_AMD;

        if (scan->n_iommus == 0)
                add(s, "The host has no IOMMU that is switched on: enable the IOMMU (AMD-Vi) in "
                       "the firmware, and boot "
                       "without amd_iommu=off. No function can be assigned until then.");
        else if (n_amd == 0)
                add(s,
                    "The host's IOMMUs (%s and so on) are not AMD's: the hardware tier cannot be "
                    "had here.",
                    scan->iommus[0].name);
}

static void describe_functions(const Inventory *inv, Sentences *s) {
        const HostScan *scan = inventory_get_scan(inv);
        size_t n_vfio = 0;

        for (size_t i = 0; i < scan->n_functions; i++)
                n_vfio += pci_function_is_on_vfio(scan->functions + i);
        if (n_vfio > 0)
                return;

        if (!scan->has_vfio_cdev)
                add(s, "There is no /dev/vfio: load vfio-pci, from a kernel with "
                       "CONFIG_VFIO_DEVICE_CDEV.");
        else
                add(s, "No PCI function is on vfio-pci with a device node: bind one, for instance "
                       "with "
                       "'driverctl set-override ADDRESS vfio-pci'. Until then only VMs whose "
                       "functions libvirt binds "
                       "can be admitted.");
}

int inventory_describe_problems(const Inventory *inv, char ***ret) {
        const HostScan *scan = inventory_get_scan(inv);
        Sentences s = { .items = new0(char *, 1) };

        if (!s.items)
                return -ENOMEM;

        if (scan->iommufd_error == -ENOENT)
                add(&s, "There is no /dev/iommu: load the iommufd module, or use a kernel with "
                        "CONFIG_IOMMUFD, "
                        "CONFIG_VFIO_DEVICE_CDEV and CONFIG_AMD_IOMMU_IOMMUFD. Only handover "
                        "\"none\" works.");
        else if (scan->iommufd_error == -EPERM)
                add(&s,
                    "/dev/iommu cannot be opened (%s): it came after the service had started, "
                    "which may open what was there by then. Restart aviommud.service. Only "
                    "handover \"none\" works.",
                    strerror(EPERM));
        else if (scan->iommufd_error < 0)
                add(&s,
                    "/dev/iommu cannot be opened (%s): let the user of the daemon own it, see the "
                    "udev rules. "
                    "Only handover \"none\" works.",
                    strerror(-scan->iommufd_error));
        describe_iommus(inv, &s);
        describe_functions(inv, &s);

        if (s.error < 0) {
                inventory_problems_free(s.items);
                return s.error;
        }
        *ret = s.items;
        return 0;
}

char **inventory_problems_free(char **problems) {
        for (char **p = problems; p && *p; p++)
                free(*p);
        free(problems);
        return NULL;
}
