/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The two halves of a profile: profile.c reads the host, profile-functions.c the PCI functions behind its IOMMUs. */

#include "kernel/sim/profile-reader.h"
#include "kernel/sim/sim-internal.h"

/* Adds the functions of @array to the state, whose IOMMUs and nodes are there. Returns 0 or -EINVAL. */
int profile_read_functions(ProfileReader *reader, SimState *st, json_object *array);
