/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel/linux/host-use.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/utf8.h"
#include "kernel/linux/sysfs-read.h"
#include "kernel/linux/sysfs-scan.h"

#define NETDEV_UP         UINT64_C(1) /* IFF_UP */
#define SCOPE_LINK        0x20        /* of an IPv6 address */
#define PATH_OF_NVME_HEAD "/nvme-subsystem/"

/* A file system, or swap, on a block device. */
typedef struct Mount {
        char number[16]; /* "259:2"; "": not told */
        char source[64]; /* "/dev/nvme0n1p2", or what stands there instead */
        char words[48];  /* "is mounted on /" */
} Mount;

typedef struct UseScan {
        LinuxKernel *l;
        Mount *mounts;
        size_t n_mounts;
        HostUses *uses;
} UseScan;

void host_uses_done(HostUses *uses) {
        free(uses->entries);
        *uses = (HostUses){};
}

const char *host_uses_find(const HostUses *uses, const PciAddress *function) {
        for (size_t i = 0; i < uses->n; i++)
                if (pci_address_equal(&uses->entries[i].function, function))
                        return uses->entries[i].words;
        return "";
}

/* The last PCI function on the way to a device, from where a link of sysfs leads to. */
static bool path_find_function(const char *path, PciAddress *ret) {
        bool found = false;

        for (const char *p = path; *p; p += strspn(p, "/")) {
                char component[PCI_ADDRESS_STRING_SIZE];
                size_t n = strcspn(p, "/");

                if (n == sizeof(component) - 1) {
                        memcpy(component, p, n);
                        component[n] = '\0';
                        if (pci_address_parse(component, ret) >= 0)
                                found = true;
                }
                p += n;
        }
        return found;
}

static int add_use(UseScan *scan, const PciAddress *function, const char *device,
                   const char *words) {
        HostUses *uses = scan->uses;

        if (ARRAY_GROW(uses->entries, uses->n) < 0)
                return -ENOMEM;
        uses->entries[uses->n].function = *function;
        (void)snprintf(uses->entries[uses->n].words, sizeof(uses->entries[0].words), "%s %s",
                       device, words);
        utf8_mend(uses->entries[uses->n].words); /* a folder may be called anything */
        uses->n++;
        return 0;
}

/* ---- what is on block devices ---- */

static int add_mount(UseScan *scan, const char *number, const char *source, const char *words) {
        Mount *m;

        if (ARRAY_GROW(scan->mounts, scan->n_mounts) < 0)
                return -ENOMEM;
        m = scan->mounts + scan->n_mounts++;
        (void)snprintf(m->number, sizeof(m->number), "%s", number);
        (void)snprintf(m->source, sizeof(m->source), "%s", source);
        (void)snprintf(m->words, sizeof(m->words), "%s", words);
        return 0;
}

/* "25 1 259:2 / /home rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw". Of a file system in user space the source is what any user wants it
 * to be, and one that is on a block device has its number. Spec: proc(5), mountinfo */
static int take_mount(UseScan *scan, char *line) {
        char *fields[5] = {}, *rest = NULL, *p = strtok_r(line, " ", &rest), words[48];
        const char *type, *source;

        for (size_t i = 0; i < ELEMENTSOF(fields) && p; i++, p = strtok_r(NULL, " ", &rest))
                fields[i] = p;
        while (p && !streq(p, "-"))
                p = strtok_r(NULL, " ", &rest);
        type = p ? strtok_r(NULL, " ", &rest) : NULL;
        source = type ? strtok_r(NULL, " \n", &rest) : NULL;
        if (!fields[4] || !source)
                return 0;
        (void)snprintf(words, sizeof(words), "is mounted on %s", fields[4]);
        return add_mount(scan, fields[2], strncmp(type, "fuse", 4) == 0 ? "" : source, words);
}

/* "/dev/sda3   partition   1048572   0   -2" under a heading. */
static int take_swap(UseScan *scan, char *line) {
        char *rest = NULL;
        const char *source = strtok_r(line, " \t", &rest);

        return source && source[0] == '/' ? add_mount(scan, "", source, "is swap space") : 0;
}

static int read_lines(UseScan *scan, const char *path, int (*take)(UseScan *scan, char *line)) {
        _cleanup_(fclosep) FILE *f = NULL;
        _cleanup_free_ char *line = NULL;
        size_t size = 0;
        int r;

        r = sysfs_open_file(scan->l->proc_fd, path, &f);
        if (r < 0)
                return sysfs_error_is_trouble(r) ? r : 0;
        while (r >= 0 && getline(&line, &size, f) >= 0)
                r = take(scan, line);
        return r;
}

/* ---- entries of a class ---- */

/* Calls @found for each entry of sys/class/@class, with where its link leads to. */
static int for_each_device(UseScan *scan, const char *class,
                           int (*found)(UseScan *scan, int class_fd, const char *name,
                                        const char *target)) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        char target[PATH_MAX];
        int r;

        r = sysfs_open_dir(scan->l->sysfs_fd, class, &d);
        if (r < 0)
                return sysfs_error_is_trouble(r) ? r : 0;
        for (;;) {
                errno = 0;
                e = readdir(d);
                if (!e)
                        return errno > 0 && !sysfs_error_is_absent(-errno) ? -errno : 0;
                if (e->d_name[0] == '.' ||
                    sysfs_read_link(dirfd(d), e->d_name, target, sizeof(target)) < 0)
                        continue;
                r = found(scan, dirfd(d), e->d_name, target);
                if (r < 0)
                        return r;
        }
}

/* Finds an entry of a folder whose name begins with @prefix. Returns whether there is one. */
static bool find_entry(int dir_fd, const char *path, const char *prefix, char *ret, size_t size) {
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;

        if (sysfs_open_dir(dir_fd, path, &d) < 0)
                return false;
        while ((e = readdir(d)))
                if (e->d_name[0] != '.' && strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
                        (void)snprintf(ret, size, "%s", e->d_name);
                        return true;
                }
        return false;
}

/* ---- block devices ---- */

static const char *find_mount(const UseScan *scan, const char *name, const char *number) {
        for (size_t i = 0; i < scan->n_mounts; i++) {
                const Mount *m = scan->mounts + i;

                if ((*number && streq(m->number, number)) ||
                    (strncmp(m->source, "/dev/", 5) == 0 && streq(m->source + 5, name)))
                        return m->words;
        }
        return NULL;
}

/* The disk of an NVMe subsystem has no function of its own: its controllers have. */
static int add_nvme_use(UseScan *scan, const char *target, const char *device, const char *words) {
        const char *subsystem = strstr(target, PATH_OF_NVME_HEAD) + strlen(PATH_OF_NVME_HEAD);
        char path[NAME_MAX + sizeof("class/nvme-subsystem/")], way[PATH_MAX];
        _cleanup_(closedirp) DIR *d = NULL;
        const struct dirent *e;
        PciAddress function;
        int r;

        (void)snprintf(path, sizeof(path), "class/nvme-subsystem/%.*s",
                       (int)MIN(strcspn(subsystem, "/"), (size_t)NAME_MAX), subsystem);
        r = sysfs_open_dir(scan->l->sysfs_fd, path, &d);
        if (r < 0)
                return sysfs_error_is_trouble(r) ? r : 0;
        while (r >= 0 && (e = readdir(d)))
                if (strncmp(e->d_name, "nvme", 4) == 0 &&
                    sysfs_read_link(dirfd(d), e->d_name, way, sizeof(way)) >= 0 &&
                    path_find_function(way, &function))
                        r = add_use(scan, &function, device, words);
        return r < 0 ? r : 0;
}

static int on_block(UseScan *scan, int class_fd, const char *name, const char *target) {
        char path[NAME_MAX + sizeof("/holders")], number[16] = "", holder[NAME_MAX + 1],
                                                  held[NAME_MAX + sizeof("is held by ")];
        const char *words;
        PciAddress function;

        (void)snprintf(path, sizeof(path), "%s/dev", name);
        (void)sysfs_read(class_fd, path, number, sizeof(number));
        words = find_mount(scan, name, number);
        (void)snprintf(path, sizeof(path), "%s/holders", name);
        if (!words && find_entry(class_fd, path, "", holder, sizeof(holder))) {
                (void)snprintf(held, sizeof(held), "is held by %s", holder);
                words = held;
        }
        if (!words)
                return 0;
        if (path_find_function(target, &function))
                return add_use(scan, &function, name, words);
        return strstr(target, PATH_OF_NVME_HEAD) ? add_nvme_use(scan, target, name, words) : 0;
}

/* ---- network interfaces ---- */

/* Whether a line of /proc/net/route or /proc/net/if_inet6 is about the interface, and more than that its link is up. */
static bool line_is_of(const char *line, const char *name, bool inet6) {
        char interface[64];
        unsigned scope;

        if (!inet6)
                return sscanf(line, "%63s", interface) == 1 && streq(interface, name);
        return sscanf(line, "%*s %*x %*x %x %*x %63s", &scope, interface) == 2 &&
               streq(interface, name) && scope != SCOPE_LINK;
}

static int has_address(UseScan *scan, const char *name, bool *ret) {
        static const char *const files[] = { "self/net/route", "self/net/if_inet6" };

        *ret = false;
        for (size_t i = 0; i < ELEMENTSOF(files) && !*ret; i++) {
                _cleanup_(fclosep) FILE *f = NULL;
                char line[256];
                int r;

                r = sysfs_open_file(scan->l->proc_fd, files[i], &f);
                if (sysfs_error_is_trouble(r))
                        return r;
                while (r >= 0 && !*ret && fgets(line, sizeof(line), f))
                        *ret = line_is_of(line, name, i == 1);
        }
        return 0;
}

static int on_interface(UseScan *scan, int class_fd, const char *name, const char *target) {
        char path[NAME_MAX + sizeof("/flags")], above[NAME_MAX + 1],
                words[NAME_MAX + sizeof("is up and part of ")];
        PciAddress function;
        bool used;
        uint64_t flags;
        int r;

        (void)snprintf(path, sizeof(path), "%s/flags", name);
        if (!path_find_function(target, &function) ||
            sysfs_read_u64(class_fd, path, 16, UINT32_MAX, &flags) < 0 || !(flags & NETDEV_UP))
                return 0;

        r = has_address(scan, name, &used);
        if (r < 0)
                return r;
        if (used)
                return add_use(scan, &function, name, "is up and has an address");
        if (!find_entry(class_fd, name, "upper_", above, sizeof(above)))
                return 0;
        (void)snprintf(words, sizeof(words), "is up and part of %s", above + strlen("upper_"));
        return add_use(scan, &function, name, words);
}

int host_uses_read(LinuxKernel *l, HostUses *ret) {
        UseScan scan = { .l = l, .uses = ret };
        int r;

        r = read_lines(&scan, "self/mountinfo", take_mount);
        if (r >= 0)
                r = read_lines(&scan, "swaps", take_swap);
        if (r >= 0)
                r = for_each_device(&scan, "class/block", on_block);
        if (r >= 0)
                r = for_each_device(&scan, "class/net", on_interface);
        free(scan.mounts);
        return r;
}
