/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl attach, detach and viommu: the functions and vIOMMUs of a VM.
 */
#include "ctl/ctl.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"

int verb_attach(Ctl *ctl, int argc, char **argv) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = "attaching the function",
                                .is_change = true,
                                .can_be_stopped = true };
        char uuid[UUID_STRING_SIZE];
        RequestFunction f, given = {};
        int r;

        (void)argc;

        r = ctl_parse_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        if (request_function_parse(argv[1], &f) < 0)
                return ctl_usage(ctl,
                                 "\"%s\" is not a function (SSSS:BB:DD.F, or with the address in "
                                 "the guest SSSS:BB:DD.F=BB:DD.F)",
                                 argv[1]);
        if (ctl->request.n_functions > 0)
                given = ctl->request.functions[0];
        f.is_managed = given.is_managed;
        memcpy(f.vf_token, given.vf_token, sizeof(f.vf_token));
        options.uuid = uuid;
        options.function = f.address;

        r = client_new_call(&ctl->client, VM_PATH(uuid), AVIOMMU_VM_INTERFACE, "AttachDevice", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", f.address);
        if (r >= 0)
                r = request_function_append_options(&f, m);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);
        r = client_call(&ctl->client, m, &options, NULL, &ctl->failure);
        if (r < 0)
                return r;

        ctl_done(ctl, uuid, "function", f.address, "Attached %s to %s.", f.address, uuid);
        return 0;
}

int verb_detach(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "detaching the function", .is_change = true };
        char uuid[UUID_STRING_SIZE], address[PCI_ADDRESS_STRING_SIZE];
        int r;

        (void)argc;

        r = ctl_parse_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        r = ctl_parse_address(ctl, argv[1], address);
        if (r < 0)
                return r;
        options.uuid = uuid;
        options.function = address;

        r = ctl_call_vm(ctl, &options, "DetachDevice", NULL, "s", address);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, "function", address, "Detached %s from %s.", address, uuid);
        return 0;
}

static int viommu_create(Ctl *ctl, const char *uuid, const char *host_iommu) {
        CallOptions options = { .what = "creating the vIOMMU",
                                .uuid = uuid,
                                .is_change = true,
                                .can_be_stopped = true };
        int r;

        r = ctl_call_vm(ctl, &options, "CreateViommu", NULL, "s", host_iommu);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, "host_iommu", host_iommu, "Created the vIOMMU of %s on %s.", uuid,
                 host_iommu);
        return 0;
}

static int viommu_destroy(Ctl *ctl, const char *uuid, const char *host_iommu, unsigned index) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = "destroying the vIOMMU",
                                .uuid = uuid,
                                .is_change = true,
                                .can_be_stopped = true };
        _cleanup_free_ char *path = alloc_printf("%s/viommu/%u", VM_PATH(uuid), index);
        int r;

        r = client_new_call(&ctl->client, path, AVIOMMU_VIOMMU_INTERFACE, "Destroy", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = client_call(&ctl->client, m, &options, NULL, &ctl->failure);
        if (r < 0)
                return r;
        ctl_done(ctl, uuid, "host_iommu", host_iommu, "Destroyed the vIOMMU of %s on %s.", uuid,
                 host_iommu);
        return 0;
}

int verb_viommu(Ctl *ctl, int argc, char **argv) {
        char uuid[UUID_STRING_SIZE];
        unsigned index;
        int r;

        (void)argc;

        r = ctl_parse_uuid(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        if (streq(argv[1], "create"))
                return viommu_create(ctl, uuid, argv[2]);
        if (!streq(argv[1], "destroy"))
                return ctl_usage(ctl, "\"%s\" is neither \"create\" nor \"destroy\"", argv[1]);
        if (host_iommu_parse(argv[2], &index) < 0)
                return ctl_usage(ctl, "\"%s\" is not a host IOMMU (such as ivhd0)", argv[2]);

        return viommu_destroy(ctl, uuid, argv[2], index);
}
