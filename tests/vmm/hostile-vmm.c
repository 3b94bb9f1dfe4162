/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A VMM that means no good: it takes over the context of a VM as the reference VMM does, and then does with the iommufd what
 * the kernel lets it do and nobody has granted.
 *
 *     hostile-vmm UUID --loop          takes vIOMMUs until there are no more
 *     hostile-vmm UUID --gap=N         hides a vIOMMU N ids behind everything else
 *     hostile-vmm UUID --page          keeps the VF MMIO page of a vIOMMU of its own mapped
 *     hostile-vmm UUID --destroy       destroys everything that was made for it
 *     hostile-vmm UUID --look          looks for objects that are not its own
 *
 * With --gap and --page an accomplice, who is not the leash, keeps the iommufd or the page when the VMM has ended; his process
 * id is printed. Then it stays, until somebody ends it.
 *
 * Exit codes: 1 something could not be done that can be, 2 wrong usage.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel/linux/iommufd-uapi.h"
#include "vmm.h"

#define VIOMMU_TYPE_AMD 3
#define VIOMMUS_MAX     100000
#define LOOK_MAX        262144
#define PAGE_SIZE       4096

typedef struct Hidden {
        uint32_t ioas_id, hwpt_id, viommu_id;
        uint64_t mmio_offset;
} Hidden;

void say(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void)vprintf(format, ap);
        va_end(ap);
        (void)putchar('\n');
}

bool fail(int error, const char *format, ...) {
        va_list ap;

        (void)fputs("hostile-vmm: ", stderr);
        va_start(ap, format);
        (void)vfprintf(stderr, format, ap);
        va_end(ap);
        (void)fprintf(stderr, "%s%s\n", error ? ": " : "", error ? strerror(error) : "");
        return false;
}

/* ---- requests ---- */

static bool make_ioas(int iommufd, uint32_t *ret_id) {
        struct kiommu_ioas_alloc request = { .size = sizeof(request) };

        if (ioctl(iommufd, KIOMMU_IOAS_ALLOC, &request) < 0)
                return fail(errno, "IOMMU_IOAS_ALLOC");
        *ret_id = request.out_ioas_id;
        return true;
}

static int destroy(int iommufd, uint32_t id) {
        struct kiommu_destroy request = { .size = sizeof(request), .id = id };

        return ioctl(iommufd, KIOMMU_DESTROY, &request) < 0 ? -errno : 0;
}

/* Returns 0 or a negative errno. */
static int make_viommu(const Vmm *vmm, uint32_t hwpt_id, Hidden *ret) {
        struct kiommu_viommu_amd data = {};
        struct kiommu_viommu_alloc request = {
                .size = sizeof(request),
                .type = VIOMMU_TYPE_AMD,
                .dev_id = vmm->functions[0].device_id,
                .hwpt_id = hwpt_id,
                .data_len = 8,
                .data_uptr = (uintptr_t)&data,
        };

        if (ioctl(vmm->iommufd, KIOMMU_VIOMMU_ALLOC, &request) < 0)
                return -errno;
        ret->viommu_id = request.out_viommu_id;
        ret->mmio_offset = data.out_vfmmio_mmap_offset;
        return 0;
}

static bool exists(int iommufd, uint32_t id) {
        struct kiommu_hwpt_invalidate request = { .size = sizeof(request),
                                                  .hwpt_id = id,
                                                  .data_type = UINT32_MAX };

        return ioctl(iommufd, KIOMMU_HWPT_INVALIDATE, &request) == 0 || errno != ENOENT;
}

static double now(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static long free_kib(void) {
        long kib = -1;
        char line[128];
        FILE *file = fopen("/proc/meminfo", "re");

        while (file && fgets(line, sizeof(line), file))
                if (sscanf(line, "MemFree: %ld", &kib) == 1)
                        break;
        if (file)
                (void)fclose(file);
        return kib;
}

/* ---- tricks ---- */

static bool try_loop(const Vmm *vmm) {
        unsigned n = 0;
        Hidden more;
        int r = 0;

        while (n < VIOMMUS_MAX && (r = make_viommu(vmm, vmm->stage2_id, &more)) == 0)
                n++;
        say("took %u vIOMMUs more, then: %s", n, strerror(-r));
        return r == -ENOSPC ? true : fail(-r, "IOMMU_VIOMMU_ALLOC");
}

/* An address space, a nest parent and a vIOMMU of its own, @gap ids behind. */
static bool hide(const Vmm *vmm, uint32_t gap, Hidden *ret) {
        struct kiommu_hwpt_alloc hwpt = { .size = sizeof(hwpt),
                                          .flags = KIOMMU_HWPT_ALLOC_NEST_PARENT,
                                          .dev_id = vmm->functions[0].device_id };
        uint32_t *ids = calloc(gap + 1, sizeof(uint32_t));
        long before = free_kib();
        double start = now();
        int r;

        for (uint32_t i = 0; ids && i < gap; i++)
                if (!make_ioas(vmm->iommufd, ids + i))
                        return false;
        if (gap > 0)
                say("%u ids used up in %.3f s; they take %ld KiB", gap, now() - start,
                    before - free_kib());
        if (!ids || !make_ioas(vmm->iommufd, &ret->ioas_id))
                return false;
        hwpt.pt_id = ret->ioas_id;
        if (ioctl(vmm->iommufd, KIOMMU_HWPT_ALLOC, &hwpt) < 0)
                return fail(errno, "IOMMU_HWPT_ALLOC");
        ret->hwpt_id = hwpt.out_hwpt_id;
        r = make_viommu(vmm, ret->hwpt_id, ret);
        if (r < 0)
                return fail(-r, "IOMMU_VIOMMU_ALLOC");
        for (uint32_t i = 0; i < gap; i++)
                if (destroy(vmm->iommufd, ids[i]) < 0)
                        return fail(errno, "IOMMU_DESTROY of %u", ids[i]);
        free(ids);
        say("vIOMMU %u is on nest parent %u and IOAS %u", ret->viommu_id, ret->hwpt_id,
            ret->ioas_id);
        return true;
}

/* Forks who keeps the iommufd, and no function. */
static bool leave_accomplice(const Vmm *vmm) {
        pid_t pid;

        (void)fflush(stdout);
        pid = fork();
        if (pid < 0)
                return fail(errno, "fork");
        if (pid == 0) {
                for (size_t i = 0; i < vmm->n_functions; i++)
                        (void)close(vmm->functions[i].fd);
                for (;;)
                        (void)pause();
        }
        say("accomplice %d", pid);
        return true;
}

static bool try_gap(const Vmm *vmm, uint32_t gap) {
        Hidden hidden;

        return hide(vmm, gap, &hidden) && leave_accomplice(vmm);
}

static bool try_page(const Vmm *vmm) {
        Hidden hidden;

        if (!hide(vmm, 0, &hidden))
                return false;
        if (mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, vmm->iommufd,
                 (off_t)hidden.mmio_offset) == MAP_FAILED)
                return fail(errno, "mapping its VF MMIO page");
        return leave_accomplice(vmm);
}

/* In an order that works: vDEVICEs, vIOMMUs. What is in use stays. */
static bool try_destroy(const Vmm *vmm) {
        unsigned n = 0;

        for (size_t i = 0; i < vmm->n_functions; i++)
                n += destroy(vmm->iommufd, vmm->functions[i].vdevice_id) == 0;
        for (size_t i = 0; i < vmm->n_viommus; i++)
                n += destroy(vmm->iommufd, vmm->viommus[i].viommu_id) == 0;
        if (destroy(vmm->iommufd, vmm->functions[0].device_id) != -EBUSY)
                return fail(0, "a device could be destroyed under its function");
        say("destroyed %u objects", n);
        return n >= 2 ? true : fail(0, "it could not destroy its own");
}

/* Every object that this iommufd can name is one that was made for this VM. */
static bool try_look(const Vmm *vmm) {
        unsigned n = 0, n_own = 2;
        double start = now();

        for (size_t i = 0; i < vmm->n_functions; i++)
                n_own += vmm->functions[i].vdevice_id != 0 ? 2 : 1;
        n_own += (unsigned)vmm->n_viommus;
        for (uint32_t id = 1; id < LOOK_MAX; id++)
                n += exists(vmm->iommufd, id);
        say("asked for %u ids in %.3f s: %u objects, %u of its own", LOOK_MAX - 1, now() - start, n,
            n_own);
        return n == n_own ? true : fail(0, "there is more than it was given");
}

/* ---- */

static bool take_over(Vmm *vmm) {
        if (!vmm_make_memory(vmm) || !vmm_find_vm(vmm) || !vmm_set_leash(vmm) ||
            !vmm_open_context(vmm))
                return false;
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (!vmm_open_device(vmm, vmm->functions + i))
                        return false;
        return vmm_map_by_daemon(vmm) && vmm_confirm(vmm);
}

static int usage(void) {
        (void)fputs("usage: hostile-vmm UUID --loop|--gap=N|--page|--destroy|--look\n", stderr);
        return 2;
}

int main(int argc, char **argv) {
        static const struct option known[] = {
                { "loop", no_argument, NULL, 'l' }, { "gap", required_argument, NULL, 'g' },
                { "page", no_argument, NULL, 'p' }, { "destroy", no_argument, NULL, 'd' },
                { "look", no_argument, NULL, 'k' }, {},
        };
        Vmm vmm = { .iommufd = -1,
                    .memory_fd = -1,
                    .memory_size = (size_t)1 << 20,
                    .memory_iova = UINT64_C(1) << 20 };
        uint32_t gap = 0;
        int trick = 0, c;
        bool ok;

        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
                if (c == '?' || trick != 0)
                        return usage();
                trick = c;
                if (c == 'g')
                        gap = (uint32_t)strtoul(optarg, NULL, 0);
        }
        if (trick == 0 || optind != argc - 1)
                return usage();
        (void)snprintf(vmm.uuid, sizeof(vmm.uuid), "%s", argv[optind]);

        ok = take_over(&vmm) && (trick == 'l'   ? try_loop(&vmm)
                                 : trick == 'g' ? try_gap(&vmm, gap)
                                 : trick == 'p' ? try_page(&vmm)
                                 : trick == 'd' ? try_destroy(&vmm)
                                                : try_look(&vmm));
        if (!ok)
                return EXIT_FAILURE;
        say("holding");
        for (;;)
                (void)pause();
}
