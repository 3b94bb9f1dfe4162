/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* aviommuctl exec: its options, and what the command gets. */

#include "ctl/ctl.h"
#include "lib/reply.h"

enum {
        OPTION_FD_IOMMUFD = 0x400,
        OPTION_FD_DEVICE,
        OPTION_FD_KEEP,
};

/* Takes one option. Returns 0 or a negative errno (failure set). */
int exec_option(Ctl *ctl, int id, const char *argument);

/* A descriptor for the command. */
typedef struct ExecItem {
        char function[PCI_ADDRESS_STRING_SIZE]; /* "": the iommufd */
        bool is_placed; /* an argument has its number, or an option says it */
        int number;     /* that an option says; -1: any */
        int fd;         /* ours, close-on-exec; -1: not open */
} ExecItem;

typedef struct ExecPlan {
        const char *uuid, *handover;
        ExecItem *items;
        size_t n_items;
        bool wants_ids; /* an argument has {ioas} or {hwpt} */
        uint32_t ioas, hwpt;
} ExecPlan;

void exec_plan_done(ExecPlan *p);

/* Lists what the VM has to give with handover @handover, and where the options and @arguments want it. Everything has to have its
 * place: what the command does not get is lost. Returns 0 or a negative errno (failure set). */
int exec_plan_make(Ctl *ctl, const char *uuid, const char *handover,
                   const VmFunctionList *functions, char **arguments, ExecPlan *ret);

/* The number of an item's descriptor in the command. */
static inline int exec_item_number(const ExecItem *item) {
        return item->number >= 0 ? item->number : item->fd;
}

/* The arguments with numbers in place of the placeholders, NULL at the end; free them with exec_arguments_free(). */
char **exec_arguments_new(const ExecPlan *p, char **arguments);
char **exec_arguments_free(char **arguments);
DEFINE_CLEANUP(char *, exec_arguments_free);
