/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/admission-function.h"

#include <errno.h>
#include <stdio.h>

/* Guest device ids that the daemon chooses start on the guest's bus 1, one per device number. */
#define FIRST_GUEST_BDF UINT32_C(0x0100)
#define GUEST_BDF_STEP  UINT32_C(8)

static int check_driver(const PciFunctionInfo *info, const FunctionRequest *request,
                        VmHandover handover, Problem *p) {
        const char *address = PCI_ADDRESS_STRING(&info->address);

        if (request->managed) {
                if (handover == HANDOVER_DAEMON)
                        return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                           "%s is said to be bound by libvirt later (managed), but "
                                           "handover \"daemon\" needs it "
                                           "now.",
                                           address);
                return 0;
        }
        if (pci_function_is_on_vfio(info))
                return 0;
        if (pci_function_has_vfio_driver(info)) {
                if (handover == HANDOVER_NONE)
                        return 0;
                return problem_set(p, PROBLEM_FUNCTION_NOT_BOUND,
                                   "%s is on %s but has no VFIO device node: the kernel needs "
                                   "CONFIG_VFIO_DEVICE_CDEV.",
                                   address, info->driver);
        }
        return problem_set(p, PROBLEM_FUNCTION_NOT_BOUND,
                           "%s is to be on vfio-pci, but is on %s: run 'driverctl set-override %s "
                           "vfio-pci' when the host can "
                           "spare it.",
                           address, info->driver[0] ? info->driver : "no driver", address);
}

/* What no VM gets, whoever asks: what the administrator has excluded, and what the host itself needs. */
static int check_host_needs(const AdmissionView *view, const PciFunctionInfo *info, Problem *p) {
        const FunctionPattern *excluded = policy_find_excluding(view->config->policy,
                                                                &info->address, info->class_code);
        const char *address = PCI_ADDRESS_STRING(&info->address);

        if (excluded)
                return problem_set(
                        p, PROBLEM_FUNCTION_EXCLUDED,
                        "%s is given to no VM: Exclude= of [Functions] names it (%s:%i).", address,
                        excluded->place.file, excluded->place.line);
        if (info->host_use[0])
                return problem_set(p, PROBLEM_FUNCTION_IN_USE,
                                   "%s is in use by this host (%s): give the VM another function, "
                                   "or have the host let go of this one first.",
                                   address, info->host_use);
        return 0;
}

static bool is_requested(const PciAddress *address, const FunctionRequest *requests,
                         size_t n_requests) {
        for (size_t i = 0; i < n_requests; i++)
                if (pci_address_equal(&requests[i].address, address))
                        return true;
        return false;
}

/* Whoever opens a PF resets its VFs, and may tamper with them: it is his who has the VFs, or knows their token, which the kernel asks for. */
static int check_virtual_functions(const AdmissionView *view, const VmContext *existing,
                                   const PciFunctionInfo *info, const FunctionRequest *request,
                                   const FunctionRequest *requests, size_t n_requests, Problem *p) {
        const HostScan *scan = inventory_get_scan(view->inventory);

        for (size_t i = 0; i < scan->n_functions && !request->has_vf_token; i++) {
                const PciFunctionInfo *vf = scan->functions + i;
                const char *holder;

                if (!pci_function_is_virtual_of(vf, info) ||
                    is_requested(&vf->address, requests, n_requests) ||
                    context_find_function(existing, &vf->address))
                        continue;
                holder = view->get_holder(view->userdata, &vf->address);
                if (holder)
                        return problem_set(p, PROBLEM_FUNCTION_IN_USE,
                                           "%s is the PF of %s, which belongs to %s.",
                                           PCI_ADDRESS_STRING(&info->address),
                                           PCI_ADDRESS_STRING(&vf->address), holder);
        }
        return 0;
}

static int check_function(const AdmissionView *view, const VmContext *existing,
                          const FunctionRequest *request, const FunctionRequest *requests,
                          size_t n_requests, const PciFunctionInfo **ret, Problem *p) {
        const PciFunctionInfo *info = inventory_find_function(view->inventory, &request->address);
        const char *address = PCI_ADDRESS_STRING(&request->address), *holder;
        int r;

        if (!info)
                return problem_set(p, PROBLEM_NO_SUCH_FUNCTION,
                                   "There is no PCI function %s on this host; 'aviommuctl "
                                   "functions' lists those there are.",
                                   address);
        if (info->is_bridge)
                return problem_set(p, PROBLEM_INVALID_ARGUMENT,
                                   "%s is a bridge, which cannot be assigned.", address);
        r = check_host_needs(view, info, p);
        if (r < 0)
                return r;

        holder = view->get_holder(view->userdata, &request->address);
        if (holder)
                return problem_set(p, PROBLEM_FUNCTION_IN_USE, "%s %s to %s.", address,
                                   context_find_function(existing, &request->address)
                                           ? "belongs already"
                                           : "belongs",
                                   holder);
        r = check_virtual_functions(view, existing, info, request, requests, n_requests, p);
        if (r < 0)
                return r;
        if (!inventory_find_iommu(view->inventory, info->host_iommu) || info->group == KERNEL_NONE)
                return problem_set(
                        p, PROBLEM_NO_HOST_IOMMU,
                        "%s is behind no IOMMU of this host, so its DMA cannot be confined.",
                        address);

        *ret = info;
        return check_driver(info, request, existing->handover, p);
}

/* The IOMMU cannot tell the functions of a group apart, so they go together. Bridges do not count. */
static int check_group(const AdmissionView *view, const VmContext *existing,
                       const PciFunctionInfo *info, const FunctionRequest *requests,
                       size_t n_requests, Problem *p) {
        const HostScan *scan = inventory_get_scan(view->inventory);
        char missing[160] = "";
        size_t length = 0;

        assert(info);

        for (size_t i = 0; i < scan->n_functions; i++) {
                const PciFunctionInfo *member = scan->functions + i;
                const char *holder;

                if (member->group != info->group || member->is_bridge ||
                    is_requested(&member->address, requests, n_requests) ||
                    context_find_function(existing, &member->address))
                        continue;

                holder = view->get_holder(view->userdata, &member->address);
                if (holder)
                        return problem_set(p, PROBLEM_FUNCTION_IN_USE,
                                           "%s shares IOMMU group %u with %s, which belongs to %s.",
                                           PCI_ADDRESS_STRING(&info->address), info->group,
                                           PCI_ADDRESS_STRING(&member->address), holder);
                if (length + PCI_ADDRESS_STRING_SIZE + 1 < sizeof(missing))
                        length += (size_t)snprintf(missing + length, sizeof(missing) - length,
                                                   "%s%s", length ? " " : "",
                                                   PCI_ADDRESS_STRING(&member->address));
        }

        if (length > 0)
                return problem_set(p, PROBLEM_GROUP_NOT_WHOLE,
                                   "%s shares IOMMU group %u with %s, not given to this VM: a "
                                   "group is assigned as a whole, so name all of it at once.",
                                   PCI_ADDRESS_STRING(&info->address), info->group, missing);
        return 0;
}

static bool has_group(const VmContext *ctx, uint32_t group) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (ctx->functions[i].group == group)
                        return true;
        return false;
}

static const ContextFunction *find_guest_id(const VmContext *ctx, GuestDeviceId id) {
        for (size_t i = 0; i < ctx->n_functions; i++)
                if (ctx->functions[i].guest_id.bdf == id.bdf)
                        return ctx->functions + i;
        return NULL;
}

/* Whether a guest device id is taken, or its bus is that of a function behind another host IOMMU: a VMM has a root bus for each vIOMMU. */
static bool is_in_the_way(uint16_t taken, uint32_t behind, uint32_t bdf, uint32_t host_iommu) {
        return taken == bdf || (behind != host_iommu && taken >> 8 == bdf >> 8);
}

static bool guest_id_is_free(const AdmissionView *view, const VmContext *existing,
                             const VmContext *added, const FunctionRequest *requests,
                             size_t n_requests, uint32_t bdf, uint32_t host_iommu) {
        const VmContext *const contexts[] = { existing, added };

        for (size_t i = 0; i < ELEMENTSOF(contexts); i++)
                for (size_t j = 0; j < contexts[i]->n_functions; j++) {
                        const ContextFunction *f = contexts[i]->functions + j;

                        if (is_in_the_way(f->guest_id.bdf, f->host_iommu, bdf, host_iommu))
                                return false;
                }
        for (size_t i = 0; i < n_requests; i++) {
                const PciFunctionInfo *info;

                if (!requests[i].has_guest_id)
                        continue;
                info = inventory_find_function(view->inventory, &requests[i].address);
                if (is_in_the_way(requests[i].guest_id.bdf, info ? info->host_iommu : host_iommu,
                                  bdf, host_iommu))
                        return false;
        }
        return true;
}

static int choose_guest_id(const AdmissionView *view, const VmContext *existing,
                           const VmContext *added, const FunctionRequest *requests,
                           size_t n_requests, uint32_t host_iommu, GuestDeviceId *ret, Problem *p) {
        for (uint32_t bdf = FIRST_GUEST_BDF; bdf <= UINT16_MAX; bdf += GUEST_BDF_STEP) {
                GuestDeviceId id = { (uint16_t)bdf };

                if (!guest_id_is_free(view, existing, added, requests, n_requests, bdf, host_iommu))
                        continue;
                *ret = id;
                return 0;
        }
        return problem_set(p, PROBLEM_DUPLICATE_GUEST_ID, "The VM has no guest device id left.");
}

static int plan_guest_id(const AdmissionView *view, const VmContext *existing,
                         const VmContext *added, const PciFunctionInfo *info,
                         const FunctionRequest *request, const FunctionRequest *requests,
                         size_t n_requests, GuestDeviceId *ret, Problem *p) {
        const ContextFunction *other;

        if (existing->tier != TIER_HARDWARE) {
                if (request->has_guest_id)
                        return problem_set(
                                p, PROBLEM_INVALID_ARGUMENT,
                                "%s is given guest device id %s, which only the hardware tier has.",
                                PCI_ADDRESS_STRING(&request->address),
                                GUEST_DEVICE_ID_STRING(request->guest_id));
                return 0;
        }
        if (!request->has_guest_id)
                return choose_guest_id(view, existing, added, requests, n_requests,
                                       info->host_iommu, ret, p);

        other = find_guest_id(existing, request->guest_id)
                        ?: find_guest_id(added, request->guest_id);
        if (other)
                return problem_set(
                        p, PROBLEM_DUPLICATE_GUEST_ID,
                        "%s and %s cannot both be %s in the guest: give another guest device id.",
                        PCI_ADDRESS_STRING(&request->address), PCI_ADDRESS_STRING(&other->address),
                        GUEST_DEVICE_ID_STRING(request->guest_id));
        *ret = request->guest_id;
        return 0;
}

int admission_plan_functions(const AdmissionView *view, const VmContext *existing,
                             const FunctionRequest *requests, size_t n_requests, VmContext *ret,
                             Problem *p) {
        for (size_t i = 0; i < n_requests; i++) {
                const FunctionRequest *request = requests + i;
                ContextFunction f = { .address = request->address, .cdev = -1, .unplug_fd = -1 };
                const PciFunctionInfo *info = NULL;
                int r;

                r = check_function(view, existing, request, requests, n_requests, &info, p);
                if (r < 0)
                        return r;
                assert(info);
                if (!has_group(ret, info->group)) /* the same answer for all of a group */
                        r = check_group(view, existing, info, requests, n_requests, p);
                if (r >= 0)
                        r = plan_guest_id(view, existing, ret, info, request, requests, n_requests,
                                          &f.guest_id, p);
                if (r < 0)
                        return r;

                f.host_iommu = info->host_iommu;
                f.group = info->group;
                f.managed = request->managed;
                f.has_vf_token = request->has_vf_token;
                memcpy(f.vf_token, request->vf_token, sizeof(f.vf_token));
                r = context_add_function(ret, &f);
                if (r < 0)
                        return r;
        }
        return 0;
}
