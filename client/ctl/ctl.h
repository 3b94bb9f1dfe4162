/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What every verb gets: the connection, the output, the options, and a place for what went wrong. */

#include "lib/client.h"
#include "lib/output.h"
#include "ctl/request.h"

/* A descriptor that exec gives to the command under a number of the caller's choice. */
typedef struct ExecFd {
        int number;
        bool is_kept;                           /* it is open already */
        char function[PCI_ADDRESS_STRING_SIZE]; /* else that of this function; "": the iommufd */
} ExecFd;

typedef struct Ctl {
        const char *verb;
        Client client;
        Output out;
        Failure failure; /* set by whoever returns a negative errno */
        int exit_code;   /* of the first failure that ctl_report() printed; 0: none */
        bool quiet;

        /* Options of single verbs */
        Request request;             /* plan, create, attach, reserve, define, modify, start */
        bool probe;                  /* host */
        bool is_read_only;           /* map */
        bool is_forced;              /* destroy */
        bool is_dry_run;             /* reclaim, libvirt apply */
        const char *format;          /* describe; NULL: not said */
        uint64_t ttl_usec;           /* reserve; 0: not said */
        const char *definition_file; /* define; NULL: the options say it */
        bool is_replaced;            /* define */
        const char *output_file;     /* metrics; NULL: stdout */
        bool per_vm;                 /* metrics */
        uint64_t delay_usec;         /* top; 0: not said */
        uint64_t n_iterations;       /* top; 0: not said */
        bool is_batch;               /* top */
        ExecFd *fds;                 /* exec */
        size_t n_fds;
        const char *uri;     /* libvirt; NULL: not said */
        const char *iommufd; /* libvirt apply: "yes" or "no"; NULL: not said */
        const char *config;  /* libvirt: the configuration of hook and agent; NULL: not said */
        const char *doctor_tier, *root; /* doctor; NULL: not said */

        /* While a VM is held: which; that others took it down, and why, as VmRemoved says it. */
        const char *held_uuid;
        bool is_removed;
        char removed_reason[128];
} Ctl;

/* Numbers beyond the letters for long options without one. */
enum {
        OPTION_VERSION = 0x100,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_NO_PAGER,
        OPTION_TIMEOUT,
        OPTION_NO_ASK_PASSWORD,
        OPTION_ADDRESS,
        OPTION_ROOT,    /* doctor */
        OPTION_OF_VERB, /* the first that belongs to a verb */
};

typedef struct CtlOption {
        const char *name;
        const char *argument; /* "SIZE"; NULL: takes none */
        int id;               /* a letter, or beyond */
        const char *help;
} CtlOption;

typedef struct Verb {
        const char *name, *arguments, *summary;
        const char *text;       /* for VERB --help, after the summary; NULL: nothing more to say */
        int min_args, max_args; /* max_args -1: any number */
        const CtlOption *options;
        size_t n_options;
        int (*option)(Ctl *ctl, int id, const char *argument); /* takes one of @options */
        int (*run)(Ctl *ctl, int argc, char **argv);
        const char *
                program; /* that has the verbs after this one, and does all of it; NULL: this one */
} Verb;

/* All verbs of aviommuctl, in the order of the manual; ends with a NULL name. */
extern const Verb verbs[];

/* Each returns 0 or a negative errno with ctl->failure set. @argc and @argv hold the arguments without the verb. */
int verb_status(Ctl *ctl, int argc, char **argv);
int verb_host(Ctl *ctl, int argc, char **argv);
int verb_functions(Ctl *ctl, int argc, char **argv);
int verb_list(Ctl *ctl, int argc, char **argv);
int verb_show(Ctl *ctl, int argc, char **argv);
int verb_describe(Ctl *ctl, int argc, char **argv);
int verb_plan(Ctl *ctl, int argc, char **argv);
int verb_create(Ctl *ctl, int argc, char **argv);
int verb_attach(Ctl *ctl, int argc, char **argv);
int verb_detach(Ctl *ctl, int argc, char **argv);
int verb_map(Ctl *ctl, int argc, char **argv);
int verb_unmap(Ctl *ctl, int argc, char **argv);
int verb_leash(Ctl *ctl, int argc, char **argv);
int verb_exec(Ctl *ctl, int argc, char **argv);
int verb_confirm(Ctl *ctl, int argc, char **argv);
int verb_viommu(Ctl *ctl, int argc, char **argv);
int verb_cancel(Ctl *ctl, int argc, char **argv);
int verb_destroy(Ctl *ctl, int argc, char **argv);
int verb_reclaim(Ctl *ctl, int argc, char **argv);
int verb_reserve(Ctl *ctl, int argc, char **argv);
int verb_unreserve(Ctl *ctl, int argc, char **argv);
int verb_reservations(Ctl *ctl, int argc, char **argv);
int verb_define(Ctl *ctl, int argc, char **argv);
int verb_modify(Ctl *ctl, int argc, char **argv);
int verb_undefine(Ctl *ctl, int argc, char **argv);
int verb_start(Ctl *ctl, int argc, char **argv);
int verb_definitions(Ctl *ctl, int argc, char **argv);
int verb_definition(Ctl *ctl, int argc, char **argv);
int verb_monitor(Ctl *ctl, int argc, char **argv);
int verb_policy(Ctl *ctl, int argc, char **argv);
int verb_metrics(Ctl *ctl, int argc, char **argv);
int verb_holders(Ctl *ctl, int argc, char **argv);
int verb_top(Ctl *ctl, int argc, char **argv);
int verb_doctor(Ctl *ctl, int argc, char **argv);

/* Takes the options of doctor. */
int doctor_option(Ctl *ctl, int id, const char *argument);

/* After CreateVm with --hold: keeps the VM until a signal, the end of stdin, or its own end; then destroys it. */
int hold_vm(Ctl *ctl, const char *uuid);

/* Asks for VmRemoved signals of @uuid, before the VM is there, for hold_vm(). */
int hold_prepare(Ctl *ctl, const char *uuid);

/* Destroys one VM; with @force also one whose VMM lives. Returns 0 or a negative errno (failure set). */
int vm_destroy(Ctl *ctl, const char *uuid, bool force);

/* How many are quarantined, 1000 at most. Returns 0 or a negative errno (failure set). */
int ctl_count_quarantined(Ctl *ctl, size_t *ret);

/* A mistake on the command line. Returns -EINVAL. */
int ctl_usage(Ctl *ctl, const char *format, ...) _printf_(2, 3);

/* Finds the object path of what is a UUID or else a name; the path is in @ret_reply. */
int ctl_find_vm(Ctl *ctl, const char *what, sd_bus_message **ret_reply, const char **ret_path);

/* The UUID of a VM that is there, from a UUID (not looked for) or a name. Returns 0 or a negative errno (failure set). */
int ctl_resolve_vm(Ctl *ctl, const char *what, char ret[static UUID_STRING_SIZE]);

/* Reads the UUID that an argument is, of a VM to come. Returns 0 or -EINVAL (failure set). */
int ctl_parse_uuid(Ctl *ctl, const char *argument, char ret[static UUID_STRING_SIZE]);

/* The same, or makes a new one of the word "new". Returns 0 or a negative errno (failure set). */
int ctl_take_uuid(Ctl *ctl, const char *argument, char ret[static UUID_STRING_SIZE]);

/* Reads a PCI address and writes its full form. Returns 0 or -EINVAL (failure set). */
int ctl_parse_address(Ctl *ctl, const char *argument, char ret[static PCI_ADDRESS_STRING_SIZE]);

/* Prints ctl->failure now, and goes on: the program will end with the exit code of the first. */
void ctl_report(Ctl *ctl, const char *prefix);

/* A remark on stderr, unless --quiet. */
void ctl_notice(Ctl *ctl, const char *format, ...) _printf_(2, 3);

/* Writes what there is so far. When that fails after a change, the failure says that it is done. Returns 0 or a negative errno. */
int ctl_flush_line(Ctl *ctl);

/* The same of a failure to write that is set already. */
void ctl_say_changed(const Ctl *ctl, Failure *unwritten);

/* What a verb that changes something says in the end: a sentence, or {"version", "done": VERB, "uuid", @key: @value}.
 * @uuid and @key may be NULL. */
void ctl_done(Ctl *ctl, const char *uuid, const char *key, const char *value, const char *format,
              ...) _printf_(5, 6);

/* Calls a method of the VM @uuid whose arguments are of the signature @types, waiting as long as it takes.
 * @ret_reply may be NULL. Returns 0 or a negative errno (failure set). */
int ctl_call_vm(Ctl *ctl, const CallOptions *options, const char *member,
                sd_bus_message **ret_reply, const char *types, ...);
