/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/request.h"

#include <errno.h>

#include "base/fd-util.h"

void vm_request_init(VmRequest *request) {
        *request = (VmRequest){ .leash = LEASH_PIDFD, .leash_pidfd = -1 };
}

void vm_request_done(VmRequest *request) {
        free(request->name);
        free(request->reservation);
        free(request->functions);
        free(request->groups);
        fd_close(request->leash_pidfd);
        vm_request_init(request);
}

int vm_request_copy(const VmRequest *request, VmRequest *ret) {
        int r = 0;

        assert(!ret->name && !ret->functions);
        ret->uuid = request->uuid;
        ret->uid = request->uid;
        memcpy(ret->tenant, request->tenant, sizeof(ret->tenant));
        ret->has_tier = request->has_tier;
        ret->tier = request->tier;
        ret->has_handover = request->has_handover;
        ret->handover = request->handover;
        ret->memory = request->memory;
        ret->has_guest_domains = request->has_guest_domains;
        ret->guest_domains = request->guest_domains;
        if (request->name) {
                ret->name = strdup(request->name);
                if (!ret->name)
                        return -ENOMEM;
        }
        for (size_t i = 0; i < request->n_functions && r >= 0; i++)
                r = vm_request_add_function(ret, request->functions + i);
        return r;
}

int vm_request_add_function(VmRequest *request, const FunctionRequest *function) {
        FunctionRequest *grown = reallocarray(request->functions, request->n_functions + 1,
                                              sizeof(FunctionRequest));

        if (!grown)
                return -ENOMEM;
        request->functions = grown;
        request->functions[request->n_functions++] = *function;
        return 0;
}

int vm_request_set_groups(VmRequest *request, const gid_t *groups, size_t n_groups) {
        gid_t *copy = new0(gid_t, MAX(n_groups, (size_t)1));

        if (!copy)
                return -ENOMEM;
        if (n_groups > 0)
                memcpy(copy, groups, n_groups * sizeof(gid_t));
        free(request->groups);
        request->groups = copy;
        request->n_groups = n_groups;
        return 0;
}
