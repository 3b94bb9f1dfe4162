/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a shell may complete a command line of a program of verbs with: `PROGRAM complete -- WORD...`, where the last word is the one to
 * complete. All of it comes from the table of verbs, and from what the daemon and libvirt know.
 */

#include "ctl/program.h"

typedef enum CompletionKind {
        COMPLETION_NOTHING,
        COMPLETION_VERB,
        COMPLETION_OPTION,  /* the name of an option, of @verb's too */
        COMPLETION_VALUE,   /* of what is @value in the help */
        COMPLETION_COMMAND, /* the word with @index begins another command line */
        COMPLETION_PROGRAM, /* the word with @index is a verb with a program of its own */
} CompletionKind;

typedef struct Completion {
        CompletionKind kind;
        const Verb *verb;  /* that is in the words; NULL: none is */
        const char *typed; /* what there is already of the last word, or of the value in it */
        size_t prefix;     /* characters of the last word before @typed: "--tier=" */
        size_t index;      /* COMMAND, PROGRAM */
        const char *value; /* VALUE: "VM", "PID|agent"; the first that @value_size says, not more */
        size_t value_size;
        bool is_more;        /* VALUE: with "=" and more after it: "FUNCTION=N" */
        const CtlOption *of; /* VALUE: of this option; NULL: of an argument */
} Completion;

/* Reads the @n words of a command line, the program's name not among them; the last is to be completed. Options with an argument are
 * handed to @take on the way, which may be NULL. */
void completion_find(const Program *program, size_t n, char *const *words,
                     void (*take)(void *userdata, int id, const char *argument), void *userdata,
                     Completion *ret);

/* The next of the words that the help of an option ends with, "Write JSON: short, pretty or off"; @pos begins with NULL.
 * Returns false when there are no more, or none at all. */
bool completion_next_choice(const char *help, const char **pos, const char **ret, size_t *ret_size);

/* Where the values of a word of the help come from. */
typedef enum CompletionSource {
        SOURCE_UNKNOWN, /* nobody has said */
        SOURCE_NONE,
        SOURCE_VMS,
        SOURCE_DEFINITIONS,
        SOURCE_FUNCTIONS,
        SOURCE_IOMMUS,
        SOURCE_NEW, /* the word "new" */
        SOURCE_FILES,
        SOURCE_PROGRAM, /* Program.complete knows */
} CompletionSource;

/* @size characters of @name, of an option's value or else of an argument. */
CompletionSource completion_source(const char *name, size_t size, bool is_option);

typedef struct Candidates {
        const char *typed,
                *prefix; /* what all of them begin with; what is put before them, @prefix_size characters of it */
        size_t prefix_size;
        bool is_more;
        Output *out;
} Candidates;

/* Prints a candidate, if it goes with what is typed. @help may be NULL. */
void candidates_add(const Candidates *c, const char *word, const char *help);

/* Prints what the last of @argv may become: first ":words", ":files" or ":command INDEX", then a line for each candidate, its help after a
 * tab. Says nothing where something goes wrong, ends soon, and starts no daemon. Returns 0 or -EINVAL (failure set). */
int complete_run(Ctl *ctl, const Program *program, int argc, char **argv);
