/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Reads requests from messages. Strict: unknown keys, wrong types and malformed values are refused. */

#include <systemd/sd-bus.h>

#include "base/problem.h"
#include "core/definition.h"

/* Reads "s" as a UUID, in the usual form or as 32 digits. -EINVAL with the problem. */
int bus_read_uuid(sd_bus_message *m, sd_id128_t *ret, Problem *reterr_problem);

/* Reads CreateVm's "sa{sv}" into an initialized request. Errors leave it to be done by the caller. */
int bus_read_vm_request(sd_bus_message *m, VmRequest *request, Problem *reterr_problem);

/* Reads Reserve's "a{sv}", which has the same keys. */
int bus_read_reserve_request(sd_bus_message *m, VmRequest *request, Problem *reterr_problem);

/* Reads DefineVm's "sa{sv}", and ModifyDefinition's, into an initialized request. */
int bus_read_definition(sd_bus_message *m, DefinitionRequest *request, Problem *reterr_problem);
int bus_read_definition_changes(sd_bus_message *m, DefinitionRequest *request,
                                Problem *reterr_problem);

/* Reads DefineVm's options, "a{sv}": replace b. */
int bus_read_define_options(sd_bus_message *m, bool *ret_replace, Problem *reterr_problem);

/* Reads StartDefinition's "a{sv}", which says what the VM hangs on, into an initialized request. */
int bus_read_start_options(sd_bus_message *m, VmRequest *request, Problem *reterr_problem);

/* Reads AttachDevice's "sa{sv}": into the functions of an initialized request, the one named first. */
int bus_read_attach_request(sd_bus_message *m, VmRequest *request, Problem *reterr_problem);

/* Reads an "a{sv}" in which no key is known. */
int bus_read_no_options(sd_bus_message *m, Problem *reterr_problem);

/* Reads Reclaim's "a{sv}": dry-run b. */
int bus_read_reclaim_options(sd_bus_message *m, bool *ret_dry_run, Problem *reterr_problem);

/* Reads Destroy's "a{sv}": force b. */
int bus_read_destroy_options(sd_bus_message *m, bool *ret_force, Problem *reterr_problem);
