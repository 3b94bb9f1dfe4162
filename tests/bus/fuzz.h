/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The parts of test-bus-fuzz: what can be called (fuzz-targets.c, from the daemon's own introspection), and what with
 * (fuzz-values.c). Everything comes from one stream of numbers, so that a seed says it all.
 */

#include "fixture.h"

#define FUZZ_ARGUMENTS_MAX 8
#define FUZZ_FDS_MAX       16

typedef struct FuzzArgument {
        char *name, *type;
} FuzzArgument;

typedef struct FuzzMethod {
        char *path, *interface, *member;
        FuzzArgument arguments[FUZZ_ARGUMENTS_MAX]; /* what goes in */
        size_t n_arguments;
} FuzzMethod;

/* A key of some dictionary, as the manual has it. */
typedef struct FuzzKey {
        char *name, *type;
} FuzzKey;

typedef struct Fuzz {
        Fixture *f;
        uint64_t random;
        FuzzMethod *methods;
        size_t n_methods;
        FuzzKey *keys;
        size_t n_keys;
        char **words; /* names of members, functions, VMs ... that mean something to the daemon */
        size_t n_words;
        int fds[FUZZ_FDS_MAX];
        size_t n_fds;
        int memory_fd, pidfd; /* two of them that some calls want */
        size_t bytes_left;    /* that the current message may yet have, roughly */
        unsigned fds_left;    /* that it may carry: too many, and the bus throws the sender out */
        unsigned depth_max;   /* of containers in it */
} Fuzz;

/* ---- fuzz-targets.c ---- */

/* Reads the manual's keys. */
void fuzz_read_manual(Fuzz *z);

/* Forgets the methods, and reads those of every object below the root and of the VMs that there are. */
void fuzz_read_targets(Fuzz *z, bool with_simulation);
void fuzz_forget_targets(Fuzz *z);
void fuzz_done(Fuzz *z);

/* ---- fuzz-values.c ---- */

void fuzz_seed(Fuzz *z, uint64_t seed, uint64_t round);

/* A number below @n. */
size_t fuzz_below(Fuzz *z, size_t n);

/* True in one of @n cases. */
bool fuzz_one_in(Fuzz *z, size_t n);

/* How long the complete type is with which @s begins; 0: with none. */
size_t fuzz_type_length(const char *s);

/* Descriptors of all kinds. */
void fuzz_open_fds(Fuzz *z);

/* A call of @method by @bus with arguments that are right, nearly right or not at all. */
sd_bus_message *fuzz_message(Fuzz *z, sd_bus *bus, const FuzzMethod *method);
