/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/linux/aliases.h"

/*
 * Aliases come from two sides: bridges that put an id of their own on what conventional PCI functions send, and the
 * firmware, which tells of more in the IVRS table.
 *
 * Of bridges, sysfs shows to an unprivileged reader where they sit (the path of a function) and which of them speak PCI
 * Express (those alone have max_link_speed). That is enough for the usual cases:
 *
 *   a bridge that speaks PCIe over a function or bridge that does not: a PCIe-to-PCI bridge, which sends as device 0,
 *   function 0 of its secondary bus, the bus of what is below it;
 *   a bridge that does not: sends as itself.
 *
 * Unseen remain a PCIe hierarchy below a PCIe-to-PCI bridge, and the quirks of single models that the kernel knows by
 * their ids. A conventional function in a PCIe slot, as only virtual machines have it, gets an alias too many.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/linux/ivrs.h"
#include "kernel/linux/sysfs-read.h"

#define IVRS_SIZE_MAX  (1024U * 1024)
#define IVRS_ALIAS_MAX 4096 /* entries kept */

typedef struct IvrsAlias {
        uint16_t segment, first, last, alias;
} IvrsAlias;

struct AliasTable {
        IvrsAlias *entries;
        size_t n_entries;
};

AliasTable *alias_table_free(AliasTable *t) {
        if (!t)
                return NULL;
        free(t->entries);
        free(t);
        return NULL;
}

static int keep_alias(uint16_t segment, uint16_t first, uint16_t last, uint16_t alias,
                      void *userdata) {
        AliasTable *t = userdata;
        IvrsAlias *entries;

        if (t->n_entries == IVRS_ALIAS_MAX)
                return -E2BIG;
        entries = reallocarray(t->entries, t->n_entries + 1, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        t->entries = entries;
        t->entries[t->n_entries++] = (IvrsAlias){ segment, first, last, alias };
        return 0;
}

/* Reads a whole file of at most IVRS_SIZE_MAX bytes. */
static int read_table(const char *path, uint8_t **ret_data, size_t *ret_size) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        _cleanup_free_ uint8_t *data = NULL;
        size_t size = 0, allocated = 0;

        if (fd < 0)
                return -errno;

        for (;;) {
                ssize_t n;

                if (size == allocated) {
                        uint8_t *larger;

                        if (allocated >= IVRS_SIZE_MAX)
                                return -E2BIG;
                        allocated = allocated > 0 ? 2 * allocated : 4096;
                        larger = realloc(data, allocated);
                        if (!larger)
                                return -ENOMEM;
                        data = larger;
                }
                n = read(fd, data + size, allocated - size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t)n;
        }

        *ret_data = TAKE_PTR(data);
        *ret_size = size;
        return 0;
}

int alias_table_new(LinuxKernel *l, AliasTable **ret) {
        _cleanup_(alias_table_freep) AliasTable *t = new0(AliasTable, 1);

        if (!t)
                return -ENOMEM;

        for (size_t i = 0; i < ELEMENTSOF(l->ivrs) && l->ivrs[i]; i++) {
                _cleanup_free_ uint8_t *data = NULL;
                size_t size = 0;
                int r;

                r = read_table(l->ivrs[i], &data, &size);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        continue;
                if (ivrs_for_each_alias(data, size, keep_alias, t) == -ENOMEM)
                        return -ENOMEM;
                break;
        }

        *ret = TAKE_PTR(t);
        return 0;
}

static void add_alias(PciFunctionInfo *f, uint16_t alias) {
        if (alias == pci_address_bdf(&f->address))
                return;
        for (size_t i = 0; i < f->n_aliases; i++)
                if (f->aliases[i] == alias)
                        return;
        if (f->n_aliases < PCI_FUNCTION_ALIASES_MAX)
                f->aliases[f->n_aliases++] = alias;
}

static bool is_pci_express(LinuxKernel *l, const PciAddress *address) {
        char path[sizeof("bus/pci/devices//max_link_speed") + PCI_ADDRESS_STRING_SIZE];

        (void)snprintf(path, sizeof(path), "bus/pci/devices/%s/max_link_speed",
                       PCI_ADDRESS_STRING(address));
        return faccessat(l->sysfs_fd, path, F_OK, 0) == 0;
}

/* What @bridge, right above @below, puts on the bus in place of the ids that come from there. */
static void add_bridge_alias(LinuxKernel *l, PciFunctionInfo *f, const PciAddress *bridge,
                             const PciAddress *below) {
        if (!is_pci_express(l, bridge))
                add_alias(f, pci_address_bdf(bridge));
        else if (!is_pci_express(l, below))
                add_alias(f, (uint16_t)(below->bus << 8));
}

/* Walks the path of a function from itself up to its root bus. */
static void add_bridge_aliases(LinuxKernel *l, PciFunctionInfo *f) {
        char link[sizeof("bus/pci/devices/") + PCI_ADDRESS_STRING_SIZE], path[PATH_MAX], *slash;
        PciAddress below = f->address, above;

        (void)snprintf(link, sizeof(link), "bus/pci/devices/%s", PCI_ADDRESS_STRING(&f->address));
        if (sysfs_read_link(l->sysfs_fd, link, path, sizeof(path)) < 0)
                return;

        slash = strrchr(path, '/');
        while (slash) {
                *slash = 0;
                slash = strrchr(path, '/');
                if (!slash || pci_address_parse(slash + 1, &above) < 0)
                        return;
                add_bridge_alias(l, f, &above, &below);
                below = above;
        }
}

void aliases_read(LinuxKernel *l, const AliasTable *t, PciFunctionInfo *f) {
        uint16_t id = pci_address_bdf(&f->address);

        f->n_aliases = 0;
        add_bridge_aliases(l, f);
        for (size_t i = 0; i < t->n_entries; i++) {
                const IvrsAlias *a = &t->entries[i];

                if (a->segment == f->address.segment && a->first <= id && id <= a->last)
                        add_alias(f, a->alias);
        }
}
