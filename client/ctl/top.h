/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A page of aviommuctl top: bars for what the host has, and below them the VMs, those that hold most of something first. */

#include "ctl/survey.h"

/* A VM and what it holds. */
typedef struct TopVm {
        const VmRow *row;
        const ChargeList *charges;
        unsigned permille; /* of what there is to give: the largest of its charges */
} TopVm;

typedef struct TopPage {
        const char *when;
        const Status *status; /* NULL: cannot be reached */
        const char *failure;  /* why, then; or why there are no VMs; NULL */
        TopVm *vms;
        size_t n_vms;      /* of which there are charges */
        size_t n_vms_left; /* of which there are none */
        unsigned rows;     /* of the screen; 0: as many as it takes */
} TopPage;

/* How much of the account it is charged to an amount is, in thousandths; 0 where there is no limit. */
unsigned top_permille(const ResourceList *accounts, const Charge *charge);

/* Finds the largest share of each VM, and sorts them by it. */
void top_sort(TopPage *page);

/* Writes the page in @o's columns. */
void top_print(const TopPage *page, Output *o);

/* The same as a document of one line. */
void top_json(const TopPage *page, uint64_t time_usec, Output *o);
