/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "state/fd-name.h"

#include <errno.h>
#include <stdio.h>

#define VM       "vm-"
#define PREPARED "prepared-"
#define CDEV     "-cdev-"

char *fd_name_format(const FdName *name, char buf[static FD_NAME_SIZE]) {
        const char *uuid = SD_ID128_TO_STRING(name->uuid);
        const PciAddress *a = &name->function;

        switch (name->role) {
        case FD_ROLE_IOMMUFD:
                (void)snprintf(buf, FD_NAME_SIZE, VM "%s-iommufd", uuid);
                break;
        case FD_ROLE_LEASH:
                (void)snprintf(buf, FD_NAME_SIZE, VM "%s-leash", uuid);
                break;
        case FD_ROLE_LEASH2:
                (void)snprintf(buf, FD_NAME_SIZE, VM "%s-second-leash", uuid);
                break;
        case FD_ROLE_CDEV:
                (void)snprintf(buf, FD_NAME_SIZE, VM "%s" CDEV "%04x.%02x.%02x.%x", uuid,
                               a->segment, a->bus, a->devfn >> 3, a->devfn & 7);
                break;
        default:
                (void)snprintf(buf, FD_NAME_SIZE, PREPARED "%s", uuid);
        }
        return buf;
}

char *fd_name_format_prefix(sd_id128_t uuid, char buf[static FD_NAME_SIZE]) {
        (void)snprintf(buf, FD_NAME_SIZE, VM "%s-", SD_ID128_TO_STRING(uuid));
        return buf;
}

/* Reads the address of a cdev: as everywhere, but for its dots. */
static int function_parse(const char *s, PciAddress *ret) {
        char text[PCI_ADDRESS_STRING_SIZE];

        if (strlen(s) != sizeof(text) - 1)
                return -EINVAL;
        memcpy(text, s, sizeof(text));
        text[4] = text[7] = ':';
        return pci_address_parse(text, ret);
}

/* Takes a name apart with an open mind: the caller compares. */
static int name_split(const char *s, FdName *ret) {
        char uuid[33] = "";

        ret->role = strncmp(s, VM, strlen(VM)) == 0 ? FD_ROLE_IOMMUFD : FD_ROLE_PREPARED;
        s += strlen(ret->role == FD_ROLE_PREPARED ? PREPARED : VM);
        memcpy(uuid, s, 32);
        s += 32;
        if (sd_id128_from_string(uuid, &ret->uuid) < 0)
                return -EINVAL;
        if (ret->role == FD_ROLE_PREPARED)
                return 0;
        if (streq(s, "-leash"))
                ret->role = FD_ROLE_LEASH;
        if (streq(s, "-second-leash"))
                ret->role = FD_ROLE_LEASH2;
        if (strncmp(s, CDEV, strlen(CDEV)) != 0)
                return 0;
        ret->role = FD_ROLE_CDEV;
        return function_parse(s + strlen(CDEV), &ret->function);
}

int fd_name_parse(const char *s, FdName *ret) {
        FdName name = {};
        int r;

        /* The shortest names that there are. */
        if (strlen(s) < strlen(VM) + 32 + strlen("-leash"))
                return -EINVAL;
        r = name_split(s, &name);
        if (r < 0)
                return r;
        if (!streq(FD_NAME_STRING(&name), s))
                return -EINVAL;

        *ret = name;
        return 0;
}
