/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What several verbs show: resources, charges, the functions of a VM. */

#include "lib/doc.h"
#include "lib/output.h"
#include "lib/reply.h"

/* An amount of a resource of this kind: bytes with a suffix, everything else as a number. Returns @buf. */
char *format_amount(const char *kind, uint64_t amount, char *buf);

/* The strings with spaces between them, "-" for none; the caller frees it. */
char *string_list_join(const StringList *l);

Doc *resources_to_doc(const ResourceList *l);
Doc *charges_to_doc(const ChargeList *l);
Doc *vm_functions_to_doc(const VmFunctionList *l, const char *last_key);

void print_resources(const ResourceList *l, Output *o);
void print_charges(const ChargeList *l, Output *o);

/* @last: the title of the last column, "STATE" or "GROUP". */
void print_vm_functions(const VmFunctionList *l, const char *last, Output *o);
