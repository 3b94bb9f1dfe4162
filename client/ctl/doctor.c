/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl doctor: what this host lacks, and the commands that mend it.
 */
#include "ctl/ctl.h"

#include <errno.h>

#include "doctor/doctor.h"

int doctor_option(Ctl *ctl, int id, const char *argument) {
        if (id == OPTION_ROOT) {
                ctl->root = argument;
                return 0;
        }
        if (tier_from_string(argument) == 0)
                return ctl_usage(ctl, "\"%s\" is none of hardware, emulated, virtio", argument);
        ctl->doctor_tier = argument;
        return 0;
}

int verb_doctor(Ctl *ctl, int argc, char **argv) {
        DoctorOptions options = {
                .tier = ctl->doctor_tier ? tier_from_string(ctl->doctor_tier) : 0,
                .root = ctl->root ?: "/",
                .quiet = ctl->quiet,
        };
        bool has_fault;
        int r;

        (void)argc;
        (void)argv;
        r = doctor_run(&ctl->client, &options, &ctl->out, &has_fault, &ctl->failure);
        if (r >= 0 && has_fault)
                ctl->exit_code = CLIENT_EXIT_FAILED;
        return r;
}
