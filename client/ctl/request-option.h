/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command-line options that describe a VM or one function of it. */

#include "ctl/ctl.h"

enum {
        OPTION_NAME = OPTION_OF_VERB,
        OPTION_TIER,
        OPTION_HANDOVER,
        OPTION_FUNCTION,
        OPTION_VF_TOKEN,
        OPTION_MANAGED,
        OPTION_MEMORY,
        OPTION_GUEST_DOMAINS,
        OPTION_TENANT,
        OPTION_LEASH,
        OPTION_HOLD,
        OPTION_RESERVATION,
        OPTION_TTL,
        OPTION_REMOVE_FUNCTION,
        OPTION_AUTOSTART,
        OPTION_NO_AUTOSTART,
};

/* Each takes one option. Returns 0 or a negative errno (failure set). */
int request_option(Ctl *ctl, int id, const char *argument);

/* Those of attach, whose function comes as an argument: what belongs to it is kept in request.functions[0]. */
int attach_option(Ctl *ctl, int id, const char *argument);

/* Opens a pidfd of the process that @argument names. Returns it or a negative errno (failure set). */
int pidfd_from_argument(Ctl *ctl, const char *argument);
