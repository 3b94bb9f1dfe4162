/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "kernel/sim/profile.h"

/* Profiles: a simulated host as JSON. policy/profiles/README.md describes the keys. */

#define PROFILE_BYTES_MAX (1024 * 1024)
#define PROFILE_DEPTH_MAX 8
#define GIB               (UINT64_C(1) << 30)

typedef struct HostSpec {
        const char *description, *level;
        bool iommufd, vfio_cdev;
        uint64_t efr, efr2;
        json_object *limits, *nodes, *iommus, *functions;
} HostSpec;

typedef struct LimitSpec {
        uint64_t guest_ids, trans_devids, host_domain_ids, pinned_bytes, viommu_data_len;
} LimitSpec;

typedef struct NodeSpec {
        uint64_t node, total_gib, free_contiguous_gib;
} NodeSpec;

typedef struct IommuSpec {
        uint64_t index, node, segment;
        const char *name, *vendor, *level;
        PciAddress address;
} IommuSpec;

static const ProfileKey host_keys[] = {
        { "description", PROFILE_STRING, offsetof(HostSpec, description), 1024, false },
        { "level", PROFILE_STRING, offsetof(HostSpec, level), 16, false },
        { "iommufd", PROFILE_BOOL, offsetof(HostSpec, iommufd), 0, false },
        { "vfio_cdev", PROFILE_BOOL, offsetof(HostSpec, vfio_cdev), 0, false },
        { "efr", PROFILE_NUMBER, offsetof(HostSpec, efr), UINT64_MAX, false },
        { "efr2", PROFILE_NUMBER, offsetof(HostSpec, efr2), UINT64_MAX, false },
        { "limits", PROFILE_OBJECT, offsetof(HostSpec, limits), 0, false },
        { "nodes", PROFILE_ARRAY, offsetof(HostSpec, nodes), 0, true },
        { "iommus", PROFILE_ARRAY, offsetof(HostSpec, iommus), 0, false },
        { "functions", PROFILE_ARRAY, offsetof(HostSpec, functions), 0, false },
};

static const ProfileKey limit_keys[] = {
        { "guest_ids", PROFILE_NUMBER, offsetof(LimitSpec, guest_ids), 65535, false },
        { "trans_devids", PROFILE_NUMBER, offsetof(LimitSpec, trans_devids), 65536, false },
        { "host_domain_ids", PROFILE_NUMBER, offsetof(LimitSpec, host_domain_ids), 65535, false },
        { "pinned_bytes", PROFILE_NUMBER, offsetof(LimitSpec, pinned_bytes), UINT64_MAX, false },
        { "viommu_data_len", PROFILE_NUMBER, offsetof(LimitSpec, viommu_data_len), 16, false },
};

static const ProfileKey node_keys[] = {
        { "node", PROFILE_NUMBER, offsetof(NodeSpec, node), 1023, true },
        { "total_gib", PROFILE_NUMBER, offsetof(NodeSpec, total_gib), 1 << 20, true },
        { "free_contiguous_gib", PROFILE_NUMBER, offsetof(NodeSpec, free_contiguous_gib), 1 << 20,
          false },
};

static const ProfileKey iommu_keys[] = {
        { "index", PROFILE_NUMBER, offsetof(IommuSpec, index), 1023, true },
        { "name", PROFILE_STRING, offsetof(IommuSpec, name), sizeof(((HostIommuInfo *)0)->name) - 1,
          false },
        { "vendor", PROFILE_STRING, offsetof(IommuSpec, vendor), 16, false },
        { "level", PROFILE_STRING, offsetof(IommuSpec, level), 16, false },
        { "address", PROFILE_ADDRESS, offsetof(IommuSpec, address), 0, false },
        { "segment", PROFILE_NUMBER, offsetof(IommuSpec, segment), UINT16_MAX, false },
        { "node", PROFILE_NUMBER, offsetof(IommuSpec, node), 1023, false },
};

static int level_parse(ProfileReader *reader, const char *where, const char *s, SimLevel *ret) {
        static const char *const levels[_SIM_LEVEL_MAX] = {
                [SIM_LEVEL_NONE] = "none",
                [SIM_LEVEL_NESTING] = "nesting",
                [SIM_LEVEL_PLUMBING] = "plumbing",
                [SIM_LEVEL_ACCELERATED] = "accelerated",
        };

        for (int i = 0; i < _SIM_LEVEL_MAX; i++)
                if (streq(levels[i], s)) {
                        *ret = (SimLevel)i;
                        return 0;
                }

        return profile_refuse(reader,
                              "\"level\" of %s must be none, nesting, plumbing or accelerated, "
                              "and is \"%s\".",
                              where, s);
}

static int vendor_parse(ProfileReader *reader, const char *where, const char *s, IommuVendor *ret) {
        if (streq(s, "amd"))
                *ret = IOMMU_VENDOR_AMD;
        else if (streq(s, "intel"))
                *ret = IOMMU_VENDOR_INTEL;
        else if (streq(s, "other"))
                *ret = IOMMU_VENDOR_OTHER;
        else
                return profile_refuse(
                        reader, "\"vendor\" of %s must be amd, intel or other, and is \"%s\".",
                        where, s);

        return 0;
}

static int read_node(ProfileReader *reader, SimState *st, json_object *json, const char *where) {
        NodeSpec spec = { .free_contiguous_gib = UINT64_MAX };
        SimNode *node;
        int r;

        r = profile_read(reader, json, where, node_keys, ELEMENTSOF(node_keys), &spec);
        if (r < 0)
                return r;
        if (st->n_nodes >= SIM_NODES_MAX)
                return profile_refuse(reader, "There may be at most %i nodes.", SIM_NODES_MAX);
        for (uint32_t i = 0; i < st->n_nodes; i++)
                if (st->nodes[i].info.node == spec.node)
                        return profile_refuse(reader, "Node %" PRIu64 " is there twice.",
                                              spec.node);
        if (spec.free_contiguous_gib == UINT64_MAX)
                spec.free_contiguous_gib = spec.total_gib;
        if (spec.free_contiguous_gib > spec.total_gib)
                return profile_refuse(
                        reader, "Node %" PRIu64 " has more memory free than there is.", spec.node);

        node = &st->nodes[st->n_nodes++];
        node->info = (NodeInfo){
                .node = (uint32_t)spec.node,
                .memory_node = spec.total_gib > 0 ? (uint32_t)spec.node : KERNEL_NONE,
                .total_bytes = spec.total_gib * GIB,
                .free_contiguous_bytes = spec.free_contiguous_gib * GIB,
        };
        st->total_memory_bytes += node->info.total_bytes;
        return 0;
}

/* Links the IOMMU to its node and its segment. */
static int place_iommu(ProfileReader *reader, SimState *st, const char *where, uint64_t node,
                       SimIommu *iommu) {
        SimSegment *segment;

        iommu->node = KERNEL_NONE;
        for (uint32_t i = 0; i < st->n_nodes; i++)
                if (st->nodes[i].info.node == node)
                        iommu->node = i;
        if (node != KERNEL_NONE && iommu->node == KERNEL_NONE)
                return profile_refuse(reader, "%s names node %" PRIu64 ", which is not there.",
                                      where, node);

        segment = sim_segment_get(st, iommu->info.address.segment);
        if (!segment)
                return profile_refuse(reader, "There may be at most %i segments.",
                                      SIM_SEGMENTS_MAX);
        iommu->segment = (uint32_t)(segment - st->segments);
        return 0;
}

static int read_iommu(ProfileReader *reader, SimState *st, const HostSpec *host, json_object *json,
                      const char *where) {
        IommuSpec spec = { .node = KERNEL_NONE, .vendor = "amd", .level = host->level };
        SimIommu iommu = { .guest_id_limit = 65535 };
        HostIommuInfo *info = &iommu.info;
        int r;

        r = profile_read(reader, json, where, iommu_keys, ELEMENTSOF(iommu_keys), &spec);
        if (r < 0)
                return r;
        if (st->n_iommus >= SIM_IOMMUS_MAX)
                return profile_refuse(reader, "There may be at most %i IOMMUs.", SIM_IOMMUS_MAX);
        if (sim_iommu_find(st, (uint32_t)spec.index))
                return profile_refuse(reader, "IOMMU %" PRIu64 " is there twice.", spec.index);

        info->index = (uint32_t)spec.index;
        info->numa_node = (uint32_t)spec.node;
        info->has_address = json_object_object_get_ex(json, "address", NULL);
        info->address = spec.address;
        if (!info->has_address)
                info->address.segment = (uint16_t)spec.segment;

        r = vendor_parse(reader, where, spec.vendor, &info->vendor);
        if (r < 0)
                return r;
        r = level_parse(reader, where, spec.level, &iommu.level);
        if (r < 0)
                return r;
        r = place_iommu(reader, st, where, spec.node, &iommu);
        if (r < 0)
                return r;

        if (spec.name)
                (void)snprintf(info->name, sizeof(info->name), "%s", spec.name);
        else
                (void)snprintf(info->name, sizeof(info->name), "%s%" PRIu32,
                               info->vendor == IOMMU_VENDOR_AMD ? "ivhd" : "dmar", info->index);
        if (info->vendor == IOMMU_VENDOR_AMD) {
                info->efr = host->efr;
                info->efr2 = host->efr2;
        }

        st->iommus[st->n_iommus++] = iommu;
        return 0;
}

static int read_limits(ProfileReader *reader, SimState *st, json_object *json) {
        LimitSpec spec = {
                .guest_ids = 65535,
                .trans_devids = 65536,
                .host_domain_ids = 65535,
                .pinned_bytes = UINT64_MAX,
                .viommu_data_len = 8,
        };
        int r;

        if (json) {
                r = profile_read(reader, json, "\"limits\"", limit_keys, ELEMENTSOF(limit_keys),
                                 &spec);
                if (r < 0)
                        return r;
        }
        if (spec.viommu_data_len != 8 && spec.viommu_data_len != 16)
                return profile_refuse(reader, "\"viommu_data_len\" must be 8 or 16.");

        for (uint32_t i = 0; i < st->n_iommus; i++)
                st->iommus[i].guest_id_limit = (uint32_t)spec.guest_ids;
        for (uint32_t i = 0; i < st->n_segments; i++)
                st->segments[i].trans_devid_limit = (uint32_t)spec.trans_devids;
        st->host_domain_id_limit = spec.host_domain_ids;
        st->pinned_limit = spec.pinned_bytes;
        st->viommu_data_len = (uint32_t)spec.viommu_data_len;
        return 0;
}

static int read_host(ProfileReader *reader, SimState *st, json_object *json) {
        HostSpec host = { .level = "accelerated", .iommufd = true, .vfio_cdev = true };
        char where[64];
        int r;

        r = profile_read(reader, json, "the profile", host_keys, ELEMENTSOF(host_keys), &host);
        if (r < 0)
                return r;

        st->iommufd_error = host.iommufd ? 0 : -ENOENT;
        st->has_vfio_cdev = host.vfio_cdev;
        for (size_t i = 0; i < json_object_array_length(host.nodes); i++) {
                (void)snprintf(where, sizeof(where), "node entry %zu", i + 1);
                r = read_node(reader, st, json_object_array_get_idx(host.nodes, i), where);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; host.iommus && i < json_object_array_length(host.iommus); i++) {
                (void)snprintf(where, sizeof(where), "IOMMU entry %zu", i + 1);
                r = read_iommu(reader, st, &host, json_object_array_get_idx(host.iommus, i), where);
                if (r < 0)
                        return r;
        }

        r = read_limits(reader, st, host.limits);
        if (r < 0)
                return r;
        return host.functions ? profile_read_functions(reader, st, host.functions) : 0;
}

static int read_file(const char *path, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buffer = NULL;
        _cleanup_close_ int fd = -1;
        size_t size = 0;
        ssize_t n;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return negative_errno();
        buffer = malloc(PROFILE_BYTES_MAX + 1);
        if (!buffer)
                return -ENOMEM;

        do {
                n = read(fd, buffer + size, PROFILE_BYTES_MAX + 1 - size);
                if (n < 0 && errno != EINTR)
                        return negative_errno();
                size += (size_t)MAX(n, 0);
        } while (n != 0 && size <= PROFILE_BYTES_MAX);
        if (size > PROFILE_BYTES_MAX)
                return -EFBIG;

        *ret = TAKE_PTR(buffer);
        *ret_size = size;
        return 0;
}

/* @text ends with a NUL behind its @size bytes. */
static int parse_text(ProfileReader *reader, const char *text, size_t size, json_object **ret) {
        struct json_tokener *tokener;
        enum json_tokener_error error;
        json_object *json;
        size_t end, line = 1;
        int r;

        tokener = json_tokener_new_ex(PROFILE_DEPTH_MAX);
        if (!tokener)
                return -ENOMEM;

        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        json = json_tokener_parse_ex(tokener, text, (int)size + 1); /* with the NUL, as an end */
        error = json_tokener_get_error(tokener);
        end = json_tokener_get_parse_end(tokener);
        json_tokener_free(tokener);

        if (json && error == json_tokener_success && strspn(text + end, " \t\r\n") >= size - end) {
                *ret = json;
                return 0;
        }

        for (size_t i = 0; i < MIN(end, size); i++)
                line += text[i] == '\n';
        r = profile_refuse(reader, "This is no JSON object: %s in line %zu.",
                           error != json_tokener_success ? json_tokener_error_desc(error)
                           : json                        ? "there is more behind its end"
                                                         : "it says null",
                           line);
        (void)json_object_put(json);
        return r;
}

int sim_profile_load(SimState *st, const char *path, Problem *reterr_problem) {
        ProfileReader reader = { .file = path, .problem = reterr_problem };
        _cleanup_free_ char *text = NULL;
        json_object *json = NULL;
        size_t size = 0;
        int r;

        r = read_file(path, &text, &size);
        if (r < 0)
                return profile_refuse(&reader, "The profile cannot be read: %s.", strerror(-r));
        assert(text);
        text[size] = '\0';

        r = parse_text(&reader, text, size, &json);
        if (r < 0)
                return r;

        r = read_host(&reader, st, json);
        (void)json_object_put(json);
        return r;
}
