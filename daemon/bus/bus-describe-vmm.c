/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Vm.Describe("libvirt-xml") and ("qemu-args"): what a VMM is to be told so that it has what the VM was admitted with. Only what
 * aviommud knows: the rest of the domain, or of the command line, is somebody else's.
 *
 * A stock QEMU binds its functions and allocates by itself, so both are for handovers "vmm" and "none".
 */

#include <errno.h>
#include <stdio.h>

#include "bus/bus-objects.h"

/* aviommu-libvirt(5) */
#define DOMAIN_XMLNS   "https://aviommu.org/xmlns/domain/1"
#define DOMAIN_FDGROUP "aviommu"
#define QEMU_XMLNS     "http://libvirt.org/schemas/domain/qemu/1.0"

static int check_handover(const Vm *vm, const char *format, Problem *p) {
        if (vm->context.handover != HANDOVER_DAEMON)
                return 0;
        return problem_set(
                p, PROBLEM_WRONG_STATE,
                "VM %s has handover \"daemon\", and no QEMU takes over functions that are "
                "bound already, so there is no \"%s\": create it with handover \"vmm\", "
                "or give its descriptors to a VMM that does, 'aviommuctl exec'.",
                vm->name, format);
}

/* Closes the stream; the text is the caller's only if all of it could be written. */
static int finish(FILE *f, char **text, char **ret) {
        bool failed = ferror(f);

        if (fclose(f) != 0 || failed) {
                free(*text);
                return -ENOMEM;
        }
        *ret = *text;
        return 0;
}

/* ---- libvirt-xml ---- */

/* Names have no control characters; the daemon takes none. */
static void put_escaped(FILE *f, const char *s) {
        for (; *s; s++)
                switch (*s) {
                case '&':
                        (void)fputs("&amp;", f);
                        break;
                case '<':
                        (void)fputs("&lt;", f);
                        break;
                case '>':
                        (void)fputs("&gt;", f);
                        break;
                default:
                        (void)fputc(*s, f);
                }
}

static void put_hostdev(FILE *f, const ContextFunction *function) {
        const PciAddress *a = &function->address;

        (void)fprintf(f,
                      "    <hostdev mode='subsystem' type='pci' managed='%s'>\n"
                      "      <source>\n"
                      "        <address domain='0x%04x' bus='0x%02x' slot='0x%02x' "
                      "function='0x%x'/>\n"
                      "      </source>\n"
                      "    </hostdev>\n",
                      function->managed ? "yes" : "no", a->segment, a->bus, a->devfn >> 3,
                      a->devfn & 7);
}

static void put_domain(FILE *f, const Vm *vm) {
        const VmContext *ctx = &vm->context;
        bool emulated = ctx->tier == TIER_EMULATED;

        (void)fprintf(f, "<domain%s%s%s>\n  <name>", emulated ? " xmlns:qemu='" : "",
                      emulated ? QEMU_XMLNS : "", emulated ? "'" : "");
        put_escaped(f, vm->name);
        (void)fprintf(f,
                      "</name>\n"
                      "  <uuid>%s</uuid>\n"
                      "  <metadata>\n"
                      "    <aviommu:viommu xmlns:aviommu='" DOMAIN_XMLNS "' tier='%s'/>\n"
                      "  </metadata>\n",
                      SD_ID128_TO_UUID_STRING(vm->uuid), vm_tier_to_string(ctx->tier));
        if (ctx->handover == HANDOVER_VMM)
                (void)fputs("  <iommufd enabled='yes' fdgroup='" DOMAIN_FDGROUP "'/>\n", f);
        if (emulated)
                (void)fputs("  <features>\n"
                            "    <ioapic driver='qemu'/>\n"
                            "  </features>\n",
                            f);
        (void)fputs("  <devices>\n", f);
        if (emulated)
                (void)fputs("    <iommu model='amd'>\n"
                            "      <driver intremap='on'/>\n"
                            "    </iommu>\n",
                            f);
        else
                (void)fputs("    <iommu model='virtio'/>\n", f);
        for (size_t i = 0; i < ctx->n_functions; i++)
                put_hostdev(f, ctx->functions + i);
        (void)fputs("  </devices>\n", f);
        if (emulated)
                (void)fputs("  <qemu:commandline>\n"
                            "    <qemu:arg value='-global'/>\n"
                            "    <qemu:arg value='amd-iommu.dma-remap=on'/>\n"
                            "  </qemu:commandline>\n",
                            f);
        (void)fputs("</domain>\n", f);
}

int bus_describe_vm_libvirt(const Vm *vm, char **ret, Problem *p) {
        char *text = NULL;
        size_t size;
        FILE *f;
        int r;

        r = check_handover(vm, "libvirt-xml", p);
        if (r < 0)
                return r;
        if (vm->context.tier == TIER_HARDWARE)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "VM %s is of the hardware tier, and no libvirt has a domain XML "
                                   "for it; \"qemu-args\" has what AMD's QEMU takes.",
                                   vm->name);

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        put_domain(f, vm);
        return finish(f, &text, ret);
}

/* ---- qemu-args ---- */

/* The guest's bus on which the functions of a vIOMMU are: its own root bus. All of them are on one, and nobody else's is. */
static int viommu_find_bus(const Bus *bus, const Vm *vm, const ContextViommu *v, unsigned *ret_bus,
                           Problem *p) {
        const VmContext *ctx = &vm->context;
        const ContextFunction *first = NULL;

        for (size_t i = 0; i < ctx->n_functions && !first; i++)
                if (ctx->functions[i].host_iommu == v->host_iommu)
                        first = ctx->functions + i;
        if (!first)
                return -ENOENT;

        for (size_t i = 0; i < ctx->n_functions; i++) {
                const ContextFunction *f = ctx->functions + i;
                bool same_viommu = f->host_iommu == v->host_iommu;
                bool same_bus = f->guest_id.bdf >> 8 == first->guest_id.bdf >> 8;

                if (same_viommu == same_bus)
                        continue;
                return problem_set(
                        p, PROBLEM_WRONG_STATE,
                        "%s is to be %s in the guest and %s %s, but they are on %s: a vIOMMU has a "
                        "root bus of its own, with all of its functions and no others. Create the "
                        "VM with guest device ids of a bus for each host IOMMU.",
                        PCI_ADDRESS_STRING(&first->address),
                        GUEST_DEVICE_ID_STRING(first->guest_id), PCI_ADDRESS_STRING(&f->address),
                        GUEST_DEVICE_ID_STRING(f->guest_id),
                        same_viommu ? bus_iommu_name(bus, v->host_iommu) : "different host IOMMUs");
        }
        *ret_bus = first->guest_id.bdf >> 8;
        return 0;
}

/* A device number of that bus that no function has, for the vIOMMU's own PCI function: from the top, for q35 has its own at the
 * ends of bus 0. */
static int find_free_device(const VmContext *ctx, unsigned bus, unsigned *ret_device) {
        for (unsigned device = 30; device > 0; device--) {
                bool is_taken = false;

                for (size_t i = 0; i < ctx->n_functions && !is_taken; i++)
                        is_taken = ctx->functions[i].guest_id.bdf >> 3 == (bus << 5 | device);
                if (!is_taken) {
                        *ret_device = device;
                        return 0;
                }
        }
        return -ENOSPC;
}

/* Whether it is function 0 of a device in the guest that has others too. */
static bool is_first_of_several(const VmContext *ctx, const ContextFunction *function) {
        for (size_t i = 0; i < ctx->n_functions; i++) {
                const ContextFunction *f = ctx->functions + i;

                if (f != function && f->guest_id.bdf >> 3 == function->guest_id.bdf >> 3)
                        return (function->guest_id.bdf & 7) == 0;
        }
        return false;
}

/* @address: where in the guest; NULL: QEMU chooses. */
static void put_vfio(FILE *f, size_t number, const ContextFunction *function, bool with_iommufd,
                     const char *address) {
        (void)fprintf(f, "-device vfio-pci,id=hostdev%zu,host=%s%s%s\n", number,
                      PCI_ADDRESS_STRING(&function->address),
                      with_iommufd ? ",iommufd=iommufd0" : "", strempty(address));
}

static int put_viommu(FILE *f, const Bus *bus, const Vm *vm, const ContextViommu *v, Problem *p) {
        const VmContext *ctx = &vm->context;
        const char *name = bus_iommu_name(bus, v->host_iommu);
        char root[48] = "pcie.0", address[96];
        unsigned number = 0, device = 0;
        int r;

        r = viommu_find_bus(bus, vm, v, &number, p);
        if (r == -ENOENT)
                return 0;
        if (r >= 0)
                r = find_free_device(ctx, number, &device);
        if (r == -ENOSPC)
                return problem_set(p, PROBLEM_WRONG_STATE,
                                   "The functions on %s leave no device number free on bus %02x of "
                                   "the guest for the vIOMMU itself.",
                                   name, number);
        if (r < 0)
                return r;

        if (number > 0) {
                (void)snprintf(root, sizeof(root), "pci-%s", name);
                (void)fprintf(f, "-device pxb-pcie,id=%s,bus=pcie.0,bus_nr=%u\n", root, number);
        }
        (void)fprintf(f,
                      "-device AMD-VIOMMU-PCI,id=viommu-%s,bus=%s,addr=0x%x\n"
                      "-device amd-viommu,pci-id=viommu-%s,last-bus-nr=%u\n",
                      name, root, device, name, number);
        for (size_t i = 0; i < ctx->n_functions; i++) {
                const ContextFunction *function = ctx->functions + i;

                if (function->host_iommu != v->host_iommu)
                        continue;
                (void)snprintf(address, sizeof(address), ",bus=%s,addr=0x%x.0x%x%s", root,
                               function->guest_id.bdf >> 3 & 0x1f, function->guest_id.bdf & 7,
                               is_first_of_several(ctx, function) ? ",multifunction=on" : "");
                put_vfio(f, i, function, true, address);
        }
        return 0;
}

static int put_arguments(FILE *f, const Bus *bus, const Vm *vm, Problem *p) {
        const VmContext *ctx = &vm->context;
        bool with_iommufd = ctx->handover == HANDOVER_VMM;
        int r = 0;

        (void)fputs(ctx->tier == TIER_VIRTIO ? "-machine q35\n"
                                             : "-machine q35,kernel-irqchip=split\n",
                    f);
        if (with_iommufd)
                (void)fputs("-object iommufd,id=iommufd0,fd={iommufd}\n", f);
        switch (ctx->tier) {
        case TIER_HARDWARE:
                for (size_t i = 0; i < ctx->n_viommus && r >= 0; i++)
                        r = put_viommu(f, bus, vm, ctx->viommus + i, p);
                return r;
        case TIER_EMULATED:
                (void)fputs("-device amd-iommu,intremap=on,dma-remap=on\n", f);
                break;
        default:
                (void)fputs("-device virtio-iommu-pci\n", f);
        }
        for (size_t i = 0; i < ctx->n_functions; i++)
                put_vfio(f, i, ctx->functions + i, with_iommufd, NULL);
        return 0;
}

int bus_describe_vm_qemu(const Bus *bus, const Vm *vm, char **ret, Problem *p) {
        char *text = NULL;
        size_t size;
        FILE *f;
        int r, q;

        r = check_handover(vm, "qemu-args", p);
        if (r < 0)
                return r;
        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        r = put_arguments(f, bus, vm, p);
        q = finish(f, &text, ret);
        if (q < 0)
                return q;
        if (r < 0)
                free(TAKE_PTR(*ret));
        return r;
}
