/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A reference VMM: how a program takes over the context of a VM that aviommud has admitted, and what it can do with it.
 *
 *     aviommuctl create UUID --tier hardware --function 0000:05:00.0
 *     reference-vmm UUID
 *
 * It runs no guest. It does to the VM's vIOMMU what a VMM does for one: it hangs the VM's life on itself, fetches the
 * descriptors, gives memory, maps the registers that the guest would see, puts a function under a table of the guest's, and
 * takes it out again. With a function that has a DMA engine it shows that the bytes get where they should, and not elsewhere.
 *
 * Exit codes: 0 all was as it should be, 1 something was not, 2 wrong usage.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define MEMORY_SIZE  (UINT64_C(4) << 20)
#define MEMORY_IOVA  (UINT64_C(1) << 20)
#define NOWHERE_IOVA (UINT64_C(64) << 20) /* beyond guest memory, and within the 28 bits of `edu` */

typedef struct Options {
        bool hold;     /* stay, holding everything */
        bool no_close; /* exit without closing anything */
        bool die;      /* end by SIGKILL, holding everything */
        bool alone;    /* without aviommud */
} Options;

void say(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void)vprintf(format, ap);
        va_end(ap);
        (void)putchar('\n');
}

bool fail(int error, const char *format, ...) {
        va_list ap;

        (void)fputs("reference-vmm: ", stderr);
        va_start(ap, format);
        (void)vfprintf(stderr, format, ap);
        va_end(ap);
        (void)fprintf(stderr, "%s%s\n", error ? ": " : "", error ? strerror(error) : "");
        return false;
}

static int usage(FILE *f) {
        (void)fputs(
                "usage: reference-vmm UUID [OPTION]...\n"
                "Takes over the context of an admitted VM and tries it.\n"
                "  --memory=BYTES  guest memory (default 4 MiB)\n"
                "  --hold          then stay, with everything in use, until SIGTERM; SIGUSR1 lets\n"
                "                  go of the last function, SIGUSR2 takes those attached since,\n"
                "                  SIGHUP tries all that it holds again\n"
                "  --no-close      then exit without closing anything\n"
                "  --die-by=kill   then end by SIGKILL, with everything in use\n"
                "reference-vmm --alone FUNCTION [OPTION]...\n"
                "The same past aviommud, on /dev/iommu itself, as root can: it sees nothing of "
                "that.\n",
                f);
        return 2;
}

/* Handover "daemon": everything is there; it only has to be fetched. */
static bool take_over(Vmm *vmm) {
        if (!vmm_open_context(vmm))
                return false;
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (!vmm_open_device(vmm, vmm->functions + i))
                        return false;
        return vmm_map_by_daemon(vmm) && vmm_confirm(vmm);
}

/* Handover "vmm": there is an iommufd on which nothing is yet. */
static bool build(Vmm *vmm) {
        return vmm_open_context(vmm) && vmm_build_context(vmm) && vmm_map_by_self(vmm);
}

static bool check_dma(Vmm *vmm, const char *when) {
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (edu_is(vmm->functions + i) && !edu_check_reaches(vmm, vmm->functions + i, when))
                        return false;
        return true;
}

static bool check_no_dma(Vmm *vmm, uint64_t iova, const char *what) {
        for (size_t i = 0; i < vmm->n_functions; i++)
                if (edu_is(vmm->functions + i) &&
                    !edu_check_does_not_reach(vmm, vmm->functions + i, iova, what))
                        return false;
        return true;
}

/* Puts every function under a nested table, as when the guest's driver sets up its device table. @stay: leave them there */
static bool try_nested(Vmm *vmm, bool stay) {
        bool supported = false;

        for (size_t i = 0; i < vmm->n_functions; i++)
                if (!vmm_attach_nested(vmm, vmm->functions + i, &supported))
                        return false;
        if (stay || !supported)
                return true;
        return vmm_attach_stage2(vmm) && check_dma(vmm, "after the nested table");
}

static bool unmap_and_map(Vmm *vmm) {
        bool by_daemon = strcmp(vmm->handover, "daemon") == 0;

        return (by_daemon ? vmm_unmap_by_daemon(vmm) : vmm_unmap_by_self(vmm)) &&
               check_no_dma(vmm, vmm->memory_iova, "memory that is mapped no more") &&
               (by_daemon ? vmm_map_by_daemon(vmm) : vmm_map_by_self(vmm)) &&
               check_dma(vmm, "mapped again");
}

/* What aviommud is there to make unnecessary. */
static bool build_alone(Vmm *vmm) {
        VmmFunction f = { .fd = -1, .host_iommu = "alone", .guest_id = "01:00.0" };

        (void)snprintf(vmm->handover, sizeof(vmm->handover), "vmm");
        (void)snprintf(vmm->tier, sizeof(vmm->tier), "hardware");
        (void)snprintf(f.address, sizeof(f.address), "%.12s", vmm->uuid);
        vmm->functions[vmm->n_functions++] = f;
        vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
        if (vmm->iommufd < 0)
                return fail(errno, "opening /dev/iommu");
        return vmm_build_context(vmm) && vmm_map_by_self(vmm);
}

static bool take_vm(Vmm *vmm) {
        if (!vmm_find_vm(vmm))
                return false;
        if (strcmp(vmm->handover, "none") == 0)
                return fail(0, "handover \"none\" is for VMMs that get no iommufd");

        /* First of all: whatever happens from here on, nothing is left behind. */
        return vmm_set_leash(vmm) &&
               (strcmp(vmm->handover, "daemon") == 0 ? take_over(vmm) : build(vmm));
}

static bool run(Vmm *vmm, const Options *options) {
        if (!vmm_make_memory(vmm) || !(options->alone ? build_alone(vmm) : take_vm(vmm)))
                return false;

        for (size_t i = 0; i < vmm->n_viommus; i++)
                if (!vmm_map_mmio(vmm, vmm->viommus + i))
                        return false;
        if (!check_dma(vmm, "on stage 2") ||
            !check_no_dma(vmm, NOWHERE_IOVA, "where nothing is mapped"))
                return false;
        if (vmm->n_viommus > 0 && !try_nested(vmm, false))
                return false;
        if (!unmap_and_map(vmm))
                return false;
        /* Those who come to a sudden end are to leave as much as they can. */
        return vmm->n_viommus == 0 || !(options->hold || options->die || options->no_close) ||
               try_nested(vmm, true);
}

/* Functions that were attached after the take-over: handover "daemon". */
static bool take_more(Vmm *vmm) {
        size_t n_before = vmm->n_functions;

        if (!vmm_find_functions(vmm) || !vmm_open_context(vmm))
                return false;
        for (size_t i = n_before; i < vmm->n_functions; i++)
                if (!vmm_open_device(vmm, vmm->functions + i) ||
                    (edu_is(vmm->functions + i) &&
                     !edu_check_reaches(vmm, vmm->functions + i, "plugged in later")))
                        return false;
        return vmm_confirm(vmm);
}

/* What is held does what it did before. The nested tables of this guest let nothing through, so stage 2 has a turn. */
static bool try_again(Vmm *vmm) {
        bool nested = false;

        for (size_t i = 0; i < vmm->n_viommus; i++)
                if (vmm->viommus[i].mmio && !vmm_try_mmio(vmm->viommus + i))
                        return false;
        for (size_t i = 0; i < vmm->n_functions; i++)
                nested |= vmm->functions[i].nested_id != 0;
        if (nested && !vmm_attach_stage2(vmm))
                return false;
        if (!check_dma(vmm, "still") || !check_no_dma(vmm, NOWHERE_IOVA, "where nothing is mapped"))
                return false;
        if (nested && !try_nested(vmm, true))
                return false;
        say("DMA tried again");
        return true;
}

static bool hold(Vmm *vmm) {
        sigset_t signals;
        int signal;

        (void)sigemptyset(&signals);
        (void)sigaddset(&signals, SIGTERM);
        (void)sigaddset(&signals, SIGINT);
        (void)sigaddset(&signals, SIGHUP);
        (void)sigaddset(&signals, SIGUSR1);
        (void)sigaddset(&signals, SIGUSR2);
        (void)sigprocmask(SIG_BLOCK, &signals, NULL);
        say("holding");
        for (;;) {
                (void)sigwait(&signals, &signal);
                if (signal == SIGUSR1)
                        vmm_close_function(vmm);
                else if (signal == SIGHUP) {
                        if (!try_again(vmm))
                                return false;
                } else if (signal != SIGUSR2)
                        return true;
                else if (!take_more(vmm))
                        return false;
        }
}

static int parse_arguments(int argc, char **argv, Vmm *vmm, Options *options) {
        static const struct option known[] = {
                { "memory", required_argument, NULL, 'm' },
                { "hold", no_argument, NULL, 'h' },
                { "no-close", no_argument, NULL, 'n' },
                { "die-by", required_argument, NULL, 'd' },
                { "alone", no_argument, NULL, 'a' },
                { "help", no_argument, NULL, '?' },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0)
                switch (c) {
                case 'm':
                        vmm->memory_size = strtoul(optarg, NULL, 0);
                        break;
                case 'h':
                        options->hold = true;
                        break;
                case 'n':
                        options->no_close = true;
                        break;
                case 'd':
                        options->die = strcmp(optarg, "kill") == 0;
                        if (!options->die)
                                return usage(stderr);
                        break;
                case 'a':
                        options->alone = true;
                        break;
                default:
                        return usage(stderr);
                }
        if (optind != argc - 1 || vmm->memory_size < 8192 || vmm->memory_size % 8192 != 0)
                return usage(stderr);
        (void)snprintf(vmm->uuid, sizeof(vmm->uuid), "%s", argv[optind]);
        return 0;
}

int main(int argc, char **argv) {
        Vmm vmm = { .iommufd = -1,
                    .memory_fd = -1,
                    .memory_size = MEMORY_SIZE,
                    .memory_iova = MEMORY_IOVA };
        Options options = {};
        bool ok;
        int r;

        (void)setvbuf(stdout, NULL, _IOLBF, 0);
        r = parse_arguments(argc, argv, &vmm, &options);
        if (r != 0)
                return r;

        ok = run(&vmm, &options);
        if (ok && options.hold)
                ok = hold(&vmm);
        if (ok && options.die)
                (void)raise(SIGKILL);
        if (ok && options.no_close)
                _exit(EXIT_SUCCESS);

        vmm_close(&vmm);
        sd_bus_flush_close_unref(vmm.bus);
        free(vmm.path);
        return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
