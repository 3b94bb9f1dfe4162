/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl-libvirt: what `aviommuctl libvirt` becomes, so that no other verb has to load libvirt's library.
 */
#include "ctl/libvirt.h"
#include "ctl/program.h"

#include <errno.h>

enum {
        OPTION_TIER = OPTION_OF_VERB,
        OPTION_DRY_RUN,
        OPTION_IOMMUFD,
        OPTION_CONNECT,
        OPTION_CONFIG,
};

static int apply_option(Ctl *ctl, int id, const char *argument) {
        if (id == OPTION_TIER)
                ctl->request.tier = argument;
        else if (id == OPTION_IOMMUFD)
                ctl->iommufd = argument;
        else
                ctl->is_dry_run = true;
        return 0;
}

static int common_option(Ctl *ctl, int id, const char *argument) {
        if (id == OPTION_CONNECT)
                ctl->uri = argument;
        else if (id == OPTION_CONFIG)
                ctl->config = argument;
        else
                return -ENOENT;
        return 0;
}

static const CtlOption common_options[] = {
        { "connect", "URI", OPTION_CONNECT, "The libvirt to ask (default: qemu:///system)" },
        { "config", "FILE", OPTION_CONFIG, "The configuration of hook and agent" },
};

static const CtlOption apply_options[] = {
        { "tier", "TIER", OPTION_TIER, "emulated or virtio" },
        { "iommufd", "yes|no", OPTION_IOMMUFD, "Whether QEMU is to get an iommufd of aviommud's" },
        { "dry-run", NULL, OPTION_DRY_RUN, "Show what would be changed, and do not do it" },
};

static const Verb libvirt_verbs[] = {
        { .name = "check",
          .arguments = "DOMAIN",
          .summary = "Say whether a domain would start, on which tier, and what is missing",
          .min_args = 1,
          .max_args = 1,
          .run = verb_libvirt_check },
        { .name = "plan",
          .arguments = "DOMAIN",
          .summary = "Show what a start of a domain would take",
          .min_args = 1,
          .max_args = 1,
          .run = verb_libvirt_plan },
        { .name = "apply",
          .arguments = "DOMAIN",
          .summary = "Change a domain's XML for a tier, and show the difference",
          .min_args = 1,
          .max_args = 1,
          .options = apply_options,
          .n_options = ELEMENTSOF(apply_options),
          .option = apply_option,
          .run = verb_libvirt_apply },
        { .name = "status",
          .summary = "Show what libvirt and QEMU can, and the domains that matter",
          .run = verb_libvirt_status },
        {},
};

int main(int argc, char *argv[]) {
        static const Program program = {
                .name = "aviommuctl libvirt",
                .summary = "Look at and change libvirt's domains for aviommud.",
                .verbs = libvirt_verbs,
                .options = common_options,
                .n_options = ELEMENTSOF(common_options),
                .option = common_option,
                .complete = libvirt_complete,
        };

        return program_run(&program, argc, argv);
}
