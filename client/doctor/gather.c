/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/gather.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/directory.h"
#include "lib/alloc.h"

/* driverctl keeps the driver of a function in a file that has its address for a name. */
static void gather_overrides(int root_fd, StringList *ret) {
        _cleanup_(directory_closep) DIR *d = NULL;
        const struct dirent *e;

        if (directory_open(root_fd, "etc/driverctl.d", &d) < 0)
                return;
        assert(d);
        while ((e = readdir(d))) {
                const char *name = strncmp(e->d_name, "pci-", 4) == 0 ? e->d_name + 4 : e->d_name;
                PciAddress a;

                if (pci_address_parse(name, &a) < 0)
                        continue;
                ret->items = alloc_grow(ret->items, ret->n, sizeof(char *));
                ret->items[ret->n++] = alloc_printf("%s", PCI_ADDRESS_STRING(&a));
        }
}

void gather_facts(Client *c, int root_fd, const char *root, Facts *ret) {
        char path[64];

        *ret = (Facts){ .client_version = AVIOMMU_VERSION };
        gather_bus(c, &ret->bus);
        gather_kernel(root_fd, &ret->kernel);
        gather_firmware(root_fd, &ret->bus, &ret->firmware);
        gather_nodes(root_fd, &ret->nodes);
        /* It has a line for every interrupt, with 11 bytes for every processor: too much, on the largest hosts, to be read
         * whole. Where interrupts are remapped, the first lines say so. */
        blob_read_head(root_fd, "proc/interrupts", &ret->interrupts);
        (void)snprintf(path, sizeof(path), "proc/%" PRIu32 "/limits", ret->bus.pid);
        if (ret->bus.pid == 0)
                ret->daemon_limits.error = -ENODATA;
        else
                blob_read(root_fd, path, &ret->daemon_limits);
        gather_libvirt(root_fd, root, &ret->libvirt);
        gather_holders(root_fd, streq(root, "/"), ret->bus.pid, &ret->holders);
        gather_overrides(root_fd, &ret->overrides);
        blob_read(root_fd, "sys/module/vfio_pci/parameters/ids", &ret->vfio_ids);
}

static void bus_facts_done(BusFacts *b) {
        for (size_t i = 0; i < b->n_hosts; i++)
                string_list_done(&b->hosts[i].features);
        free(b->hosts);
        free(b->tiers);
        string_list_done(&b->problems);
        resource_list_done(&b->resources);
        free(b->functions);
        free(b->quarantined);
        free(b->vms);
        for (size_t i = 0; i < b->n_messages; i++)
                (void)sd_bus_message_unref(b->messages[i]);
        free(b->messages);
}

void facts_done(Facts *f) {
        for (size_t i = 0; i < f->firmware.n_spaces; i++)
                blob_done(&f->firmware.spaces[i].config);
        free(f->firmware.spaces);
        blob_done(&f->firmware.processors);
        blob_done(&f->firmware.ivrs);
        blob_done(&f->kernel.config);
        blob_done(&f->kernel.command_line);
        free(f->nodes.vfio);
        blob_done(&f->interrupts);
        blob_done(&f->daemon_limits);
        free(f->libvirt.qemu.output);
        free(f->libvirt.libvirt.output);
        free(f->holders.items);
        for (size_t i = 0; i < f->overrides.n; i++)
                free((char *)f->overrides.items[i]);
        string_list_done(&f->overrides);
        blob_done(&f->vfio_ids);
        bus_facts_done(&f->bus);
        *f = (Facts){};
}
