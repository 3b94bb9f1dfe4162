/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The memory of the nodes: what there is, what is free in large blocks, what page tables of IOMMUs take.
 *
 * Blocks count from order 8 up, the larger of the two that a vIOMMU takes, and only in zones that kernel allocations may
 * use. /proc/buddyinfo and /proc/meminfo are hidden from a service with ProcSubset=pid; what they would have told is
 * then 0, unknown. A kernel without NUMA is one node, 0.
 */

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "kernel/linux/sysfs-read.h"
#include "kernel/linux/sysfs-scan.h"

#define MINIMUM_ORDER 8U
#define MAXIMUM_ORDER 30U

static uint64_t page_size(void) {
        return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The decimal number behind the first @key in the file @path, which ends a word there. 0 where there is none. */
static uint64_t read_line_value(int dir_fd, const char *path, const char *key) {
        _cleanup_(fclosep) FILE *f = NULL;
        char line[256];

        if (sysfs_open_file(dir_fd, path, &f) < 0)
                return 0;
        while (fgets(line, sizeof(line), f)) {
                const char *found = strstr(line, key);
                char *end;
                unsigned long long v;

                /* At the start of a word, with white space behind. */
                if (!found || (found != line && found[-1] != ' '))
                        continue;
                found += strlen(key);
                if (*found != ' ' && *found != '\t')
                        continue;
                errno = 0;
                v = strtoull(found, &end, 10);
                return end == found || errno > 0 ? 0 : v;
        }
        return 0;
}

/* Adds up the free blocks of one line: "Node 0, zone   Normal   1   0   2 ...", one count per order. */
static void add_free_blocks(HostScan *scan, const char *line) {
        char zone[32];
        unsigned node;
        int end = -1;
        uint64_t bytes = 0;

        if (sscanf(line, "Node %u, zone %31s%n", &node, zone, &end) != 2 || end < 0)
                return;
        if (streq(zone, "Movable") || streq(zone, "Device"))
                return;

        line += end;
        for (unsigned order = 0; order <= MAXIMUM_ORDER; order++) {
                unsigned long long count;
                char *next;

                errno = 0;
                count = strtoull(line, &next, 10);
                if (next == line)
                        break;
                line = next;
                if (order < MINIMUM_ORDER || errno > 0)
                        continue;
                if (__builtin_mul_overflow((uint64_t)count, page_size() << order, &count) ||
                    __builtin_add_overflow(bytes, (uint64_t)count, &bytes))
                        return; /* no memory is that large */
        }

        for (size_t i = 0; i < scan->n_nodes; i++)
                if (scan->nodes[i].node == node)
                        scan->nodes[i].free_contiguous_bytes += bytes;
}

static void read_free_blocks(LinuxKernel *l, HostScan *scan) {
        _cleanup_(fclosep) FILE *f = NULL;
        char line[1024];

        if (sysfs_open_file(l->proc_fd, "buddyinfo", &f) < 0) {
                for (size_t i = 0; i < scan->n_nodes; i++)
                        scan->nodes[i].free_contiguous_bytes = KERNEL_BYTES_UNKNOWN;
                return;
        }
        while (fgets(line, sizeof(line), f))
                add_free_blocks(scan, line);
}

static void read_node(int nodes_fd, const char *name, uint32_t number, NodeInfo *ret) {
        char path[NAME_MAX + sizeof("/meminfo")];

        *ret = (NodeInfo){ .node = number };
        (void)snprintf(path, sizeof(path), "%s/meminfo", name);
        ret->total_bytes = read_line_value(nodes_fd, path, "MemTotal:") * 1024;
        (void)snprintf(path, sizeof(path), "%s/vmstat", name);
        ret->iommu_bytes = read_line_value(nodes_fd, path, "nr_iommu_pages") * page_size();
}

static int read_nodes(LinuxKernel *l, HostScan *scan) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        uint32_t number;
        int r;

        r = sysfs_open_dir(l->sysfs_fd, "devices/system/node", &d);
        if (r < 0)
                return sysfs_error_is_absent(r) ? 0 : scan_error(r);
        for (;;) {
                errno = 0;
                e = readdir(d);
                if (!e)
                        return errno > 0 ? -EIO : 0;
                if (parse_numbered_name(e->d_name, "node", &number) < 0)
                        continue;
                if (ARRAY_GROW(scan->nodes, scan->n_nodes) < 0)
                        return -ENOMEM;
                read_node(dirfd(d), e->d_name, number, &scan->nodes[scan->n_nodes]);
                scan->n_nodes++;
        }
}

static uint64_t total_of_host(LinuxKernel *l) {
        uint64_t total = read_line_value(l->proc_fd, "meminfo", "MemTotal:") * 1024;
        struct sysinfo info;

        if (total == 0 && sysinfo(&info) == 0)
                total = (uint64_t)info.totalram * info.mem_unit;
        return total;
}

static int node_compare(const void *a, const void *b) {
        const NodeInfo *x = a, *y = b;

        return x->node < y->node ? -1 : x->node > y->node;
}

/* Where the allocations of a node without memory go: to the nearest that has some, the first of several. The file has one distance
 * for each node, in the order of their numbers. */
static uint32_t find_memory_node(LinuxKernel *l, const HostScan *scan, uint32_t node) {
        char path[sizeof("devices/system/node/node/distance") + 3 * sizeof(uint32_t)];
        uint32_t nearest = KERNEL_NONE;
        unsigned long best = ULONG_MAX;
        char distances[4096], *at = distances;

        (void)snprintf(path, sizeof(path), "devices/system/node/node%" PRIu32 "/distance", node);
        if (sysfs_read(l->sysfs_fd, path, distances, sizeof(distances)) < 0)
                return KERNEL_NONE;
        for (size_t i = 0; i < scan->n_nodes; i++) {
                char *next;
                unsigned long distance = strtoul(at, &next, 10);

                if (next == at)
                        return KERNEL_NONE;
                at = next;
                if (scan->nodes[i].total_bytes > 0 && distance < best) {
                        best = distance;
                        nearest = scan->nodes[i].node;
                }
        }
        return *at ? KERNEL_NONE : nearest; /* of other nodes than those listed */
}

int scan_memory(LinuxKernel *l, HostScan *scan) {
        int r;

        r = read_nodes(l, scan);
        if (r < 0)
                return r;

        if (scan->n_nodes == 0) {
                if (ARRAY_GROW(scan->nodes, scan->n_nodes) < 0)
                        return -ENOMEM;
                scan->nodes[scan->n_nodes++] = (NodeInfo){
                        .total_bytes = total_of_host(l),
                        .iommu_bytes = read_line_value(l->proc_fd, "vmstat", "nr_iommu_pages") *
                                       page_size(),
                };
        }
        qsort(scan->nodes, scan->n_nodes, sizeof(NodeInfo), node_compare);

        for (size_t i = 0; i < scan->n_nodes; i++) {
                NodeInfo *node = scan->nodes + i;

                scan->total_memory_bytes += node->total_bytes;
                node->memory_node = node->total_bytes > 0 ? node->node
                                                          : find_memory_node(l, scan, node->node);
        }
        read_free_blocks(l, scan);
        return 0;
}
