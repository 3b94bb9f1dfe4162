/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The conversation with aviommud, org.aviommu1 on the system bus. See org.aviommu1(5).
 *
 * Descriptors that come in a message belong to the message: they are duplicated before it is freed. One descriptor travels
 * in each.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm.h"

#define NAME    "org.aviommu1"
#define MANAGER "/org/aviommu1"

/* aviommud answers when the work is done, and a kernel may take its time. */
#define TIMEOUT_USEC (UINT64_C(60) * 1000 * 1000)

/* Calls a method of the VM's object. The error of a refusal has a name (org.aviommu1.Error.*) and a sentence. */
static bool call(Vmm *vmm, const char *member, sd_bus_message **ret_reply, const char *types, ...) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL;
        va_list ap;
        int r;

        r = sd_bus_message_new_method_call(vmm->bus, &m, NAME, vmm->path, NAME ".Vm", member);
        if (r >= 0 && types) {
                va_start(ap, types);
                r = sd_bus_message_appendv(m, types, ap);
                va_end(ap);
        }
        if (r >= 0)
                r = sd_bus_call(vmm->bus, m, TIMEOUT_USEC, &error, ret_reply);
        if (r < 0)
                fail(sd_bus_error_is_set(&error) ? 0 : -r, "%s: %s: %s", member,
                     error.name ? error.name : "no answer", error.message ? error.message : "");
        sd_bus_message_unref(m);
        sd_bus_error_free(&error);
        return r >= 0;
}

static bool get_string(Vmm *vmm, const char *property, char *buf, size_t size) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char *value = NULL;
        int r = sd_bus_get_property_string(vmm->bus, NAME, vmm->path, NAME ".Vm", property, &error,
                                           &value);

        if (r < 0)
                fail(-r, "property %s: %s", property, error.message ? error.message : "");
        else
                (void)snprintf(buf, size, "%s", value);
        sd_bus_error_free(&error);
        free(value);
        return r >= 0;
}

static VmmFunction *find_function(Vmm *vmm, const char *address) {
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (strcmp(vmm->functions[i].address, address) == 0)
                        return vmm->functions + i;
        return NULL;
}

/* Functions is a(ssss): address, host IOMMU, guest device id, state. Adds those that are not known yet. */
bool vmm_find_functions(Vmm *vmm) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *address, *host_iommu, *guest_id, *state;
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_get_property(vmm->bus, NAME, vmm->path, NAME ".Vm", "Functions", &error, &reply,
                                "a(ssss)");
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(ssss)");
        while (r >= 0) {
                VmmFunction *f = vmm->functions + vmm->n_functions;

                r = sd_bus_message_read(reply, "(ssss)", &address, &host_iommu, &guest_id, &state);
                if (r <= 0)
                        break;
                if (find_function(vmm, address))
                        continue;
                if (vmm->n_functions == VMM_FUNCTIONS_MAX) {
                        r = -E2BIG;
                        break;
                }
                *f = (VmmFunction){ .fd = -1 };
                (void)snprintf(f->address, sizeof(f->address), "%s", address);
                (void)snprintf(f->host_iommu, sizeof(f->host_iommu), "%s", host_iommu);
                (void)snprintf(f->guest_id, sizeof(f->guest_id), "%s", guest_id);
                vmm->n_functions++;
        }
        if (r < 0)
                fail(-r, "property Functions: %s", error.message ? error.message : "");
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r >= 0;
}

bool vmm_find_vm(Vmm *vmm) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *path;
        int r;

        r = sd_bus_open_system(&vmm->bus);
        if (r < 0)
                return fail(-r, "connecting to the system bus");

        r = sd_bus_call_method(vmm->bus, NAME, MANAGER, NAME ".Manager", "GetVm", &error, &reply,
                               "s", vmm->uuid);
        if (r >= 0)
                r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0)
                vmm->path = strdup(path);
        if (r < 0)
                fail(0, "GetVm: %s: %s", error.name ? error.name : "no answer",
                     error.message ? error.message : "");
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        if (r < 0 || !vmm->path)
                return false;

        if (!get_string(vmm, "Handover", vmm->handover, sizeof(vmm->handover)) ||
            !get_string(vmm, "Tier", vmm->tier, sizeof(vmm->tier)) || !vmm_find_functions(vmm))
                return false;
        say("VM %s: tier %s, handover %s, %zu function(s)", vmm->uuid, vmm->tier, vmm->handover,
            vmm->n_functions);
        return true;
}

bool vmm_set_leash(Vmm *vmm) {
        sd_bus_message *reply = NULL;
        int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
        bool ok;

        if (pidfd < 0)
                return fail(errno, "pidfd_open");
        ok = call(vmm, "SetLeash", &reply, "h", pidfd);
        sd_bus_message_unref(reply);
        (void)close(pidfd); /* aviommud has its own by now */
        if (ok)
                say("leash: the VM lives as long as process %d", getpid());
        return ok;
}

static int copy_descriptor(sd_bus_message *m, int *ret) {
        int fd, r = sd_bus_message_read(m, "h", &fd);

        if (r < 0)
                return r;
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret < 0 ? -errno : 0;
}

/* devices: a(susu) function, device id, guest device id, vDEVICE id. */
static int read_devices(Vmm *vmm, sd_bus_message *m) {
        const char *address, *guest_id;
        uint32_t device_id, vdevice_id;
        VmmFunction *f;
        int r = sd_bus_message_enter_container(m, 'a', "(susu)");

        while (r >= 0) {
                r = sd_bus_message_read(m, "(susu)", &address, &device_id, &guest_id, &vdevice_id);
                if (r <= 0)
                        break;
                f = find_function(vmm, address);
                if (!f || f->device_id != 0)
                        continue;
                f->device_id = device_id;
                f->vdevice_id = vdevice_id;
                say("function %s is device %u, vDEVICE %u, %s in the guest", address, device_id,
                    vdevice_id, *guest_id ? guest_id : "anywhere");
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* viommus: a(sutt) host IOMMU, vIOMMU id, VF MMIO offset and size. */
static int read_viommus(Vmm *vmm, sd_bus_message *m) {
        int r = sd_bus_message_enter_container(m, 'a', "(sutt)");

        vmm->n_viommus = 0;
        while (r >= 0) {
                VmmViommu *v = vmm->viommus + vmm->n_viommus;
                volatile uint64_t *mmio =
                        v->mmio; /* of the time before: no vIOMMU goes while its page is mapped */
                const char *host_iommu;

                if (vmm->n_viommus == VMM_VIOMMUS_MAX)
                        return -E2BIG;
                *v = (VmmViommu){ .mmio = mmio };
                r = sd_bus_message_read(m, "(sutt)", &host_iommu, &v->viommu_id, &v->mmio_offset,
                                        &v->mmio_size);
                if (r <= 0)
                        break;
                (void)snprintf(v->host_iommu, sizeof(v->host_iommu), "%s", host_iommu);
                say("vIOMMU %u on %s, VF MMIO at offset 0x%lx", v->viommu_id, host_iommu,
                    (unsigned long)v->mmio_offset);
                vmm->n_viommus++;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* A dictionary may get new keys: those not known are skipped. */
static int read_ids(Vmm *vmm, sd_bus_message *m) {
        int r = sd_bus_message_enter_container(m, 'a', "{sv}");

        while (r >= 0) {
                const char *key, *type;

                r = sd_bus_message_enter_container(m, 'e', "sv");
                if (r <= 0)
                        break;
                r = sd_bus_message_read(m, "s", &key);
                if (r >= 0)
                        r = sd_bus_message_peek_type(m, NULL, &type);
                if (r >= 0)
                        r = sd_bus_message_enter_container(m, 'v', type);
                if (r < 0)
                        break;
                if (strcmp(key, "ioas") == 0)
                        r = sd_bus_message_read(m, "u", &vmm->ioas_id);
                else if (strcmp(key, "hwpt") == 0)
                        r = sd_bus_message_read(m, "u", &vmm->stage2_id);
                else if (strcmp(key, "devices") == 0)
                        r = read_devices(vmm, m);
                else if (strcmp(key, "viommus") == 0)
                        r = read_viommus(vmm, m);
                else
                        r = sd_bus_message_skip(m, type);
                for (int i = 0; i < 2 && r >= 0; i++)
                        r = sd_bus_message_exit_container(m);
        }
        return r;
}

bool vmm_open_context(Vmm *vmm) {
        sd_bus_message *reply = NULL;
        int r;

        if (!call(vmm, "OpenContext", &reply, NULL))
                return false;
        if (vmm->iommufd >= 0) /* the same one again */
                (void)close(vmm->iommufd);
        r = copy_descriptor(reply, &vmm->iommufd);
        if (r >= 0)
                r = read_ids(vmm, reply);
        sd_bus_message_unref(reply);
        if (r < 0)
                return fail(-r, "reading the answer of OpenContext");
        say("context: iommufd, IOAS %u, stage 2 %u", vmm->ioas_id, vmm->stage2_id);
        return true;
}

bool vmm_open_device(Vmm *vmm, VmmFunction *f) {
        sd_bus_message *reply = NULL;
        int r;

        if (!call(vmm, "OpenDevice", &reply, "s", f->address))
                return false;
        r = copy_descriptor(reply, &f->fd);
        sd_bus_message_unref(reply);
        if (r < 0)
                return fail(-r, "reading the answer of OpenDevice");
        say("function %s opened", f->address);
        return true;
}

bool vmm_map_by_daemon(Vmm *vmm) {
        sd_bus_message *reply = NULL;
        bool ok = call(vmm, "MapMemory", &reply, "htttu", vmm->memory_fd, UINT64_C(0),
                       (uint64_t)vmm->memory_size, vmm->memory_iova, 1U);

        sd_bus_message_unref(reply);
        if (ok)
                say("%zu KiB of guest memory mapped at 0x%lx by aviommud", vmm->memory_size >> 10,
                    (unsigned long)vmm->memory_iova);
        return ok;
}

bool vmm_unmap_by_daemon(Vmm *vmm) {
        sd_bus_message *reply = NULL;
        bool ok = call(vmm, "UnmapMemory", &reply, "tt", vmm->memory_iova,
                       (uint64_t)vmm->memory_size);

        sd_bus_message_unref(reply);
        if (ok)
                say("guest memory unmapped by aviommud");
        return ok;
}

bool vmm_confirm(Vmm *vmm) {
        sd_bus_message *reply = NULL;
        bool ok = call(vmm, "ConfirmContext", &reply, NULL);

        sd_bus_message_unref(reply);
        if (ok)
                say("confirmed: aviommud holds no function any more");
        return ok;
}
