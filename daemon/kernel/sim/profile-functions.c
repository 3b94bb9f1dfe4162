/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "kernel/sim/profile.h"

/* The PCI functions of a profile: each entry is one, or a row of them, each with its virtual functions. */

typedef struct FunctionSpec {
        PciAddress address;
        uint64_t iommu, group, node, vendor_id, device_id, class_code;
        const char *driver, *group_type, *host_use;
        uint8_t vf_token[16];
        json_object *aliases, *repeat, *virtual_functions;
} FunctionSpec;

typedef struct RepeatSpec {
        uint64_t count, step;
} RepeatSpec;

typedef struct VirtualSpec {
        uint64_t count, first, stride, device_id;
        const char *driver;
} VirtualSpec;

#define DRIVER_BYTES_MAX (sizeof(((PciFunctionInfo *)0)->driver) - 1)
#define TYPE_BYTES_MAX   (sizeof(((PciFunctionInfo *)0)->group_type) - 1)
#define USE_BYTES_MAX    (sizeof(((PciFunctionInfo *)0)->host_use) - 1)

static const ProfileKey function_keys[] = {
        { "address", PROFILE_ADDRESS, offsetof(FunctionSpec, address), 0, true },
        { "driver", PROFILE_STRING, offsetof(FunctionSpec, driver), DRIVER_BYTES_MAX, false },
        { "iommu", PROFILE_NUMBER, offsetof(FunctionSpec, iommu), 1023, false },
        { "group", PROFILE_NUMBER, offsetof(FunctionSpec, group), SIM_GROUPS_MAX - 1, false },
        { "group_type", PROFILE_STRING, offsetof(FunctionSpec, group_type), TYPE_BYTES_MAX, false },
        { "host_use", PROFILE_STRING, offsetof(FunctionSpec, host_use), USE_BYTES_MAX, false },
        { "node", PROFILE_NUMBER, offsetof(FunctionSpec, node), 1023, false },
        { "vendor_id", PROFILE_NUMBER, offsetof(FunctionSpec, vendor_id), UINT16_MAX, false },
        { "device_id", PROFILE_NUMBER, offsetof(FunctionSpec, device_id), UINT16_MAX, false },
        { "class", PROFILE_NUMBER, offsetof(FunctionSpec, class_code), 0xffffff, false },
        { "aliases", PROFILE_ARRAY, offsetof(FunctionSpec, aliases), 0, false },
        { "vf_token", PROFILE_UUID, offsetof(FunctionSpec, vf_token), 0, false },
        { "repeat", PROFILE_OBJECT, offsetof(FunctionSpec, repeat), 0, false },
        { "virtual_functions", PROFILE_OBJECT, offsetof(FunctionSpec, virtual_functions), 0,
          false },
};

static const ProfileKey repeat_keys[] = {
        { "count", PROFILE_NUMBER, offsetof(RepeatSpec, count), SIM_FUNCTIONS_MAX, true },
        { "step", PROFILE_NUMBER, offsetof(RepeatSpec, step), UINT16_MAX, true },
};

static const ProfileKey virtual_keys[] = {
        { "count", PROFILE_NUMBER, offsetof(VirtualSpec, count), SIM_FUNCTIONS_MAX, true },
        { "first", PROFILE_NUMBER, offsetof(VirtualSpec, first), UINT16_MAX, false },
        { "stride", PROFILE_NUMBER, offsetof(VirtualSpec, stride), UINT16_MAX, false },
        { "driver", PROFILE_STRING, offsetof(VirtualSpec, driver), DRIVER_BYTES_MAX, false },
        { "device_id", PROFILE_NUMBER, offsetof(VirtualSpec, device_id), UINT16_MAX, false },
};

/* Moves an address on by @distance requester ids, within its segment. */
static int address_advance(ProfileReader *reader, const char *where, PciAddress *a,
                           uint64_t distance) {
        uint64_t bdf = pci_address_bdf(a) + distance;

        if (bdf > UINT16_MAX)
                return profile_refuse(reader, "%s goes on beyond the end of its segment.", where);

        a->bus = (uint8_t)(bdf >> 8);
        a->devfn = (uint8_t)(bdf & 0xff);
        return 0;
}

static int read_aliases(ProfileReader *reader, const char *where, json_object *array,
                        PciFunctionInfo *info) {
        static const ProfileKey key = { "aliases", PROFILE_STRING, 0, 16, false };

        if (!array)
                return 0;
        if (json_object_array_length(array) > PCI_FUNCTION_ALIASES_MAX)
                return profile_refuse(reader, "\"aliases\" of %s may be at most %i.", where,
                                      PCI_FUNCTION_ALIASES_MAX);

        for (size_t i = 0; i < json_object_array_length(array); i++) {
                PciAddress alias;
                const char *s;
                int r;

                r = profile_read_value(reader, json_object_array_get_idx(array, i), where, &key,
                                       &s);
                if (r < 0)
                        return r;
                if (pci_address_parse(s, &alias) < 0 ||
                    (alias.segment != 0 && alias.segment != info->address.segment))
                        return profile_refuse(reader,
                                              "\"aliases\" of %s must be addresses like "
                                              "\"41:00.7\" in its own segment.",
                                              where);
                info->aliases[info->n_aliases++] = pci_address_bdf(&alias);
        }

        return 0;
}

static int add(ProfileReader *reader, SimState *st, const char *where, const PciFunctionInfo *info,
               SimFunction **ret) {
        uint32_t f;
        int r;

        r = sim_function_add(st, info, &f);
        switch (r) {
        case 0:
                if (ret)
                        *ret = &st->functions[f];
                return 0;
        case -EEXIST:
                return profile_refuse(reader, "%s: %s is there already.", where,
                                      PCI_ADDRESS_STRING(&info->address));
        case -ENOSPC:
                return profile_refuse(reader, "There may be at most %i functions.",
                                      SIM_FUNCTIONS_MAX);
        default:
                return profile_refuse(reader,
                                      "%s: %s must name an IOMMU of its own segment, and have a "
                                      "group only behind one.",
                                      where, PCI_ADDRESS_STRING(&info->address));
        }
}

static int add_virtual(ProfileReader *reader, SimState *st, const char *where,
                       const PciFunctionInfo *physical, json_object *json) {
        VirtualSpec spec = { .first = 1, .stride = 1, .device_id = physical->device_id };
        int r;

        if (!json)
                return 0;
        r = profile_read(reader, json, where, virtual_keys, ELEMENTSOF(virtual_keys), &spec);
        if (r < 0)
                return r;

        for (uint64_t i = 0; i < spec.count; i++) {
                PciFunctionInfo vf = *physical;

                vf.is_virtual = true;
                vf.physical_function = physical->address;
                vf.group = KERNEL_NONE;
                memset(vf.host_use, 0, sizeof(vf.host_use));
                vf.device_id = (uint16_t)spec.device_id;
                vf.n_aliases = 0;
                memset(vf.driver, 0, sizeof(vf.driver));
                (void)snprintf(vf.driver, sizeof(vf.driver), "%s", strempty(spec.driver));

                r = address_advance(reader, where, &vf.address, spec.first + i * spec.stride);
                if (r < 0)
                        return r;
                r = add(reader, st, where, &vf, NULL);
                if (r < 0)
                        return r;
        }

        return 0;
}

static bool is_zero(const uint8_t token[16]) {
        return memcmp(token, (const uint8_t[16]){}, 16) == 0;
}

static int add_row(ProfileReader *reader, SimState *st, const char *where, const FunctionSpec *spec,
                   PciFunctionInfo info) {
        RepeatSpec repeat = { .count = 1 };
        int r;

        if (spec->repeat) {
                r = profile_read(reader, spec->repeat, where, repeat_keys, ELEMENTSOF(repeat_keys),
                                 &repeat);
                if (r < 0)
                        return r;
        }

        for (uint64_t i = 0; i < repeat.count; i++) {
                SimFunction *fn = NULL;

                if (i > 0) {
                        r = address_advance(reader, where, &info.address, repeat.step);
                        if (r < 0)
                                return r;
                }
                r = add(reader, st, where, &info, &fn);
                if (r < 0)
                        return r;
                assert(fn);
                if (!is_zero(spec->vf_token)) {
                        memcpy(fn->vf_token, spec->vf_token, sizeof(fn->vf_token));
                        fn->has_vf_token = true;
                }
                r = add_virtual(reader, st, where, &info, spec->virtual_functions);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int read_function(ProfileReader *reader, SimState *st, json_object *json,
                         const char *where) {
        FunctionSpec spec = {
                .iommu = KERNEL_NONE,
                .group = KERNEL_NONE,
                .node = KERNEL_NONE,
                .class_code = 0x020000,
        };
        PciFunctionInfo info = {};
        SimIommu *iommu;
        int r;

        r = profile_read(reader, json, where, function_keys, ELEMENTSOF(function_keys), &spec);
        if (r < 0)
                return r;

        iommu = spec.iommu == KERNEL_NONE ? NULL : sim_iommu_find(st, (uint32_t)spec.iommu);
        info.address = spec.address;
        info.is_bridge = pci_class_is_bridge(spec.class_code);
        info.host_iommu = (uint32_t)spec.iommu;
        info.group = (uint32_t)spec.group;
        info.numa_node = (uint32_t)spec.node;
        if (info.numa_node == KERNEL_NONE && iommu)
                info.numa_node = iommu->info.numa_node;
        info.vendor_id = (uint16_t)spec.vendor_id;
        info.device_id = (uint16_t)spec.device_id;
        info.class_code = (uint32_t)spec.class_code;
        (void)snprintf(info.driver, sizeof(info.driver), "%s", strempty(spec.driver));
        (void)snprintf(info.host_use, sizeof(info.host_use), "%s", strempty(spec.host_use));
        (void)snprintf(info.group_type, sizeof(info.group_type), "%s",
                       spec.group_type ?: (iommu ? "DMA" : ""));
        r = read_aliases(reader, where, spec.aliases, &info);
        if (r < 0)
                return r;

        return add_row(reader, st, where, &spec, info);
}

/* Numbers of groups that are not given begin after those that are. */
static void place_groups(SimState *st, json_object *array) {
        for (size_t i = 0; i < json_object_array_length(array); i++) {
                json_object *group;
                int64_t n;

                if (!json_object_object_get_ex(json_object_array_get_idx(array, i), "group",
                                               &group))
                        continue;
                n = json_object_get_int64(group);
                if (n >= st->first_free_group && n < SIM_GROUPS_MAX)
                        st->first_free_group = (uint32_t)n + 1;
        }
}

int profile_read_functions(ProfileReader *reader, SimState *st, json_object *array) {
        char where[64];
        int r;

        place_groups(st, array);

        for (size_t i = 0; i < json_object_array_length(array); i++) {
                (void)snprintf(where, sizeof(where), "function entry %zu", i + 1);
                r = read_function(reader, st, json_object_array_get_idx(array, i), where);
                if (r < 0)
                        return r;
        }

        return 0;
}
