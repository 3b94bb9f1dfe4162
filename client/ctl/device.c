/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl attach, detach and viommu: the functions and vIOMMUs of a VM.
 */
#include "ctl/ctl.h"

#include <errno.h>

#include "lib/alloc.h"
#include "lib/format.h"

/* Reads FUNCTION[=GUEST_BDF]; what --vf-token and --managed say holds for all of them. */
static int parse_function(Ctl *ctl, const char *argument, RequestFunction *ret) {
        if (request_function_parse(argument, ret) < 0)
                return ctl_usage(ctl,
                                 "\"%s\" is not a function (SSSS:BB:DD.F, or with the address in "
                                 "the guest SSSS:BB:DD.F=BB:DD.F)",
                                 argument);
        if (ctl->request.n_functions > 0) {
                ret->is_managed = ctl->request.functions[0].is_managed;
                memcpy(ret->vf_token, ctl->request.functions[0].vf_token, sizeof(ret->vf_token));
        }
        return 0;
}

static int attach(Ctl *ctl, const char *uuid, const RequestFunction *functions,
                  size_t n_functions) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        CallOptions options = { .what = "attaching the function",
                                .is_change = true,
                                .can_be_stopped = true,
                                .uuid = uuid,
                                .function = functions[0].address };
        int r;

        r = client_new_call(&ctl->client, VM_PATH(uuid), AVIOMMU_VM_INTERFACE, "AttachDevice", &m,
                            &ctl->failure);
        if (r < 0)
                return r;
        r = request_append_attach(&ctl->request, functions, n_functions, m);
        if (r < 0)
                return failure_set_connection(&ctl->failure, r, NULL);
        return client_call(&ctl->client, m, &options, NULL, &ctl->failure);
}

/* One document for all of them, or a line for each. */
static void say_attached(Ctl *ctl, const char *uuid, const RequestFunction *functions,
                         size_t n_functions) {
        _cleanup_(doc_freep) Doc *d = NULL;
        Doc *addresses;

        if (ctl->out.json == JSON_OFF) {
                for (size_t i = 0; i < n_functions; i++)
                        ctl_done(ctl, uuid, "function", functions[i].address, "Attached %s to %s.",
                                 functions[i].address, uuid);
                return;
        }
        d = doc_new();
        addresses = doc_new_array();
        for (size_t i = 0; i < n_functions; i++)
                doc_add_string(addresses, NULL, functions[i].address);
        doc_add_string(d, "done", ctl->verb);
        doc_add_string(d, "uuid", uuid);
        doc_add_string(d, "function", functions[0].address);
        doc_add(d, "functions", addresses);
        output_doc(&ctl->out, d);
}

int verb_attach(Ctl *ctl, int argc, char **argv) {
        size_t n_functions = (size_t)argc - 1;
        _cleanup_free_ RequestFunction *functions = new0(RequestFunction, n_functions);
        char uuid[UUID_STRING_SIZE];
        int r;

        if (!functions)
                return -ENOMEM;
        for (size_t i = 0; i < n_functions; i++) {
                r = parse_function(ctl, argv[i + 1], functions + i);
                if (r < 0)
                        return r;
        }
        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r >= 0)
                r = attach(ctl, uuid, functions, n_functions);
        if (r < 0)
                return r;

        say_attached(ctl, uuid, functions, n_functions);
        return 0;
}

int verb_detach(Ctl *ctl, int argc, char **argv) {
        CallOptions options = { .what = "detaching the function", .is_change = true };
        char uuid[UUID_STRING_SIZE], address[PCI_ADDRESS_STRING_SIZE];
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
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

        r = ctl_resolve_vm(ctl, argv[0], uuid);
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
