/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a word of a command line may become: names from the tables, and those of what is there now. A shell waits for the answer while
 * somebody types: nothing here takes long, asks for a password, starts a daemon or complains.
 */
#include "ctl/complete.h"
#include "ctl/definition.h"
#include "ctl/survey.h"

#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"

/* For a call, and for all of it: a bus may take us in and never say a word. */
#define CALL_USEC  1000000U
#define WHOLE_SECS 2

static void on_timer(int signo) {
        (void)signo;
        _exit(CLIENT_EXIT_OK);
}

/* Ends the program in silence when it takes too long. SIGALRM is libvirt's. */
static void limit_time(void) {
        static const struct sigaction action = { .sa_handler = on_timer };
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
        struct itimerspec spec = { .it_value.tv_sec = WHOLE_SECS };
        timer_t timer;

        (void)sigaction(SIGUSR1, &action, NULL);
        if (timer_create(CLOCK_MONOTONIC, &event, &timer) >= 0)
                (void)timer_settime(timer, 0, &spec, NULL);
}

/* What would end a line or a column, or the shell's own. */
static bool has_control(const char *s) {
        for (; *s; s++)
                if ((unsigned char)*s < ' ' || *s == 0x7f)
                        return true;
        return false;
}

void candidates_add(const Candidates *c, const char *word, const char *help) {
        if (!*word || has_control(word) || has_control(strempty(help)) ||
            strncmp(word, c->typed, strlen(c->typed)) != 0)
                return;
        output_printf(c->out, "%.*s%s%s\t%s\n", (int)c->prefix_size, c->prefix, word,
                      c->is_more ? "=" : "", strempty(help));
}

/* ---- what is there ---- */

/* A name is what people type; the UUID is for those who begin one, and for VMs without a name. */
static void add_vms(Ctl *ctl, const Candidates *c) {
        _cleanup_(vm_rows_done) VmRows l = {};

        if (survey_vms(ctl, &l) < 0)
                return;
        for (size_t i = 0; i < l.n; i++) {
                const VmRow *v = &l.items[i];
                bool has_name = *v->name && !streq(v->name, v->uuid);

                if (has_name)
                        candidates_add(c, v->name, v->state);
                if (!has_name || *c->typed)
                        candidates_add(c, v->uuid, has_name ? v->name : v->state);
        }
}

static void add_definitions(Ctl *ctl, const Candidates *c) {
        _cleanup_(definition_list_done) DefinitionList l = {};

        if (definition_list_get(ctl, &l) < 0)
                return;
        for (size_t i = 0; i < l.n; i++) {
                const DefinitionRow *v = &l.items[i];

                if (*v->name)
                        candidates_add(c, v->name, v->state);
                if (!*v->name || *c->typed)
                        candidates_add(c, v->uuid, *v->name ? v->name : v->state);
        }
}

/* (sssuissa{sv}) */
static int add_function(sd_bus_message *m, void *userdata) {
        const char *address, *driver, *host_iommu, *state, *uuid;
        int32_t numa_node;
        uint32_t group;
        int r;

        r = sd_bus_message_enter_container(m, 'r', "sssuissa{sv}");
        if (r >= 0)
                r = sd_bus_message_read(m, "sssuiss", &address, &driver, &host_iommu, &group,
                                        &numa_node, &state, &uuid);
        if (r < 0)
                return r;
        candidates_add(userdata, address, state);
        r = sd_bus_message_skip(m, "a{sv}");
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

static void add_functions(Ctl *ctl, const Candidates *c) {
        _cleanup_(pages_done) Pages pages = { .member = "ListFunctions",
                                              .contents = "(sssuissa{sv})",
                                              .what = "" };

        (void)pages_read(&ctl->client, &pages, add_function, (void *)c, &ctl->failure);
}

static void add_iommus(Ctl *ctl, const Candidates *c) {
        _cleanup_(host_list_done) HostIommuList l = {};

        if (survey_hosts(ctl, &l) < 0)
                return;
        for (size_t i = 0; i < l.n; i++)
                candidates_add(c, l.items[i].name, l.items[i].kernel_level);
}

static void add_source(Ctl *ctl, const Program *program, CompletionSource source, const char *name,
                       const Candidates *c) {
        /* What could not be had is not there: there is nobody to tell. */
        switch (source) {
        case SOURCE_VMS:
                add_vms(ctl, c);
                break;
        case SOURCE_DEFINITIONS:
                add_definitions(ctl, c);
                break;
        case SOURCE_FUNCTIONS:
                add_functions(ctl, c);
                break;
        case SOURCE_IOMMUS:
                add_iommus(ctl, c);
                break;
        case SOURCE_NEW:
                candidates_add(c, "new", "a UUID nobody has");
                break;
        case SOURCE_PROGRAM:
                if (program->complete)
                        (void)program->complete(ctl, name, c);
                break;
        case SOURCE_UNKNOWN:
        case SOURCE_NONE:
        case SOURCE_FILES:
                break;
        }
        ctl->failure = (Failure){};
}

/* ---- the kinds of words ---- */

static void complete_verb(const Program *program, const Candidates *c) {
        for (const Verb *v = program->verbs; v->name; v++)
                candidates_add(c, v->name, v->summary);
}

static void complete_options(const CtlOption *options, size_t n, const Candidates *c) {
        for (size_t i = 0; i < n; i++)
                if (*options[i].name) {
                        _cleanup_free_ char *word = alloc_printf("--%s%s", options[i].name,
                                                                 options[i].argument ? "=" : "");

                        candidates_add(c, word, options[i].help);
                }
}

static void complete_option(const Program *program, const Verb *verb, const Candidates *c) {
        size_t n;
        const CtlOption *global = program_global_options(&n);

        if (verb)
                complete_options(verb->options, verb->n_options, c);
        complete_options(program->options, program->n_options, c);
        complete_options(global, n, c);
}

/* "PID|agent": what is in small letters stands for itself. */
static void complete_value(Ctl *ctl, const Program *program, const Completion *completion,
                           const Candidates *c) {
        const char *p = completion->value, *end = p + completion->value_size, *pos = NULL, *choice;
        size_t size;

        while (completion->of &&
               completion_next_choice(completion->of->help, &pos, &choice, &size)) {
                _cleanup_free_ char *word = alloc_printf("%.*s", (int)size, choice);

                candidates_add(c, word, NULL);
        }
        for (; p < end; p += size + 1) {
                _cleanup_free_ char *word = NULL;

                size = strcspn(p, "|");
                size = MIN(size, (size_t)(end - p));
                word = alloc_printf("%.*s", (int)size, p);
                if (*word >= 'a' && *word <= 'z')
                        candidates_add(c, word, NULL);
                else
                        add_source(ctl, program,
                                   completion_source(word, size, completion->of != NULL), word, c);
        }
}

/* ---- all of it ---- */

typedef struct Asking {
        Ctl *ctl;
        const Program *program;
} Asking;

/* Whom to ask: the options that say so count here as they do for the verb. */
static void take_option(void *userdata, int id, const char *argument) {
        Asking *a = userdata;

        if (id == OPTION_ADDRESS) {
                free(a->ctl->client.address);
                a->ctl->client.address = alloc_printf("%s", argument);
        } else if (a->program->option) {
                (void)a->program->option(a->ctl, id, argument);
        }
}

/* The program of a verb completes what comes after it: "complete -- LIBVIRT-VERB ...". */
static void become(Ctl *ctl, const Program *program, const Completion *completion, int n,
                   char **words) {
        const Verb *verb = NULL;
        _cleanup_free_ char **argv = alloc_check(calloc((size_t)n + 4, sizeof(char *)));

        for (const Verb *v = program->verbs; v->name; v++)
                if (streq(v->name, words[completion->index]))
                        verb = v;
        assert(verb); /* the decider has found it */
        argv[0] = program_invocation_short_name;
        argv[1] = (char *)"complete";
        argv[2] = (char *)"--";
        memcpy(argv + 3, words, (size_t)n * sizeof(char *));
        ctl->verb = verb->name;
        (void)program_become(ctl, verb->program, argv, n + 3, (int)completion->index + 3);
        ctl->failure = (Failure){};
}

int complete_run(Ctl *ctl, const Program *program, int argc, char **argv) {
        Asking asking = { ctl, program };
        Completion completion;
        Candidates c;

        if (argc < 2 || !streq(argv[0], "--"))
                return ctl_usage(ctl, "complete wants -- WORD...");
        argc--;
        argv++;

        limit_time();
        /* Libraries have their own opinions. */
        (void)!freopen("/dev/null", "we", stderr);
        ctl->quiet = ctl->client.quiet = ctl->client.only_looks = true;
        ctl->client.interactive = ctl->out.may_page = false;
        ctl->client.timeout_usec = CALL_USEC;

        completion_find(program, (size_t)argc, argv, take_option, &asking, &completion);
        c = (Candidates){ .typed = completion.typed,
                          .prefix = argv[argc - 1],
                          .prefix_size = completion.prefix,
                          .is_more = completion.is_more,
                          .out = &ctl->out };

        if (completion.kind == COMPLETION_PROGRAM) {
                become(ctl, program, &completion, argc, argv);
        } else if (completion.kind == COMPLETION_COMMAND) {
                output_printf(&ctl->out, ":command %zu\n", completion.index);
        } else if (completion.kind == COMPLETION_VALUE &&
                   completion_source(completion.value, completion.value_size,
                                     completion.of != NULL) == SOURCE_FILES) {
                output_printf(&ctl->out, ":files\n");
        } else {
                output_printf(&ctl->out, ":words\n");
                if (completion.kind == COMPLETION_VERB)
                        complete_verb(program, &c);
                else if (completion.kind == COMPLETION_OPTION)
                        complete_option(program, completion.verb, &c);
                else if (completion.kind == COMPLETION_VALUE)
                        complete_value(ctl, program, &completion, &c);
        }
        return 0;
}
