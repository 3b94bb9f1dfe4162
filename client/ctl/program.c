/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Options, a verb from the program's table, its output, and an exit code that means something.
 */
#include "ctl/program.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#include "ctl/complete.h"
#include "lib/alloc.h"

#ifndef AVIOMMU_VERSION
#error "The build has to define AVIOMMU_VERSION"
#endif

static const CtlOption global_options[] = {
        { "help", NULL, 'h', "Show this help" },
        { "version", NULL, OPTION_VERSION, "Show the version" },
        { "json", "MODE", OPTION_JSON, "Write JSON: short, pretty or off" },
        { "", NULL, 'j', "Like --json=pretty on a terminal, else --json=short" },
        { "no-legend", NULL, OPTION_NO_LEGEND, "Do not show the headings of tables" },
        { "quiet", NULL, 'q', "No confirmations, remarks or progress" },
        { "no-pager", NULL, OPTION_NO_PAGER, "Do not use a pager" },
        { "timeout", "SECONDS", OPTION_TIMEOUT, "Wait this long for an answer; 0: for ever" },
        { "no-ask-password", NULL, OPTION_NO_ASK_PASSWORD, "Do not let polkit ask for a password" },
        { "address", "ADDRESS", OPTION_ADDRESS, "The bus that aviommud is on" },
};

const CtlOption *program_global_options(size_t *ret_n) {
        *ret_n = ELEMENTSOF(global_options);
        return global_options;
}

#define HELP_COLUMNS 80

/* Writes @text and ends the line. @at: the column where it begins; further lines begin there too. */
static void help_words(Output *o, size_t at, const char *text) {
        size_t column = at;

        while (*text) {
                size_t n = strcspn(text, " ");

                if (column > at && column + 1 + n > HELP_COLUMNS) {
                        output_printf(o, "\n%*s", (int)at, "");
                        column = at;
                }
                output_printf(o, "%s%.*s", column > at ? " " : "", (int)n, text);
                column += (column > at ? 1 : 0) + n;
                text += n + strspn(text + n, " ");
        }
        output_printf(o, "\n");
}

/* Two columns, the left one @width wide: what does not fit into it has a line of its own. */
static void help_line(Output *o, int width, const char *left, const char *text) {
        if (strlen(left) > (size_t)width)
                output_printf(o, "  %s\n  %-*s ", left, width, "");
        else
                output_printf(o, "  %-*s ", width, left);
        help_words(o, (size_t)width + 3, text);
}

static void help_options(Output *o, const CtlOption *options, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const CtlOption *x = &options[i];
                char letter[] = "    ", left[64];

                if (x->id < OPTION_VERSION)
                        (void)snprintf(letter, sizeof(letter), "-%c%s", x->id,
                                       *x->name ? ", " : "");
                (void)snprintf(left, sizeof(left), "%s%s%s%s%s", letter, *x->name ? "--" : "",
                               x->name, x->argument ? "=" : "", strempty(x->argument));
                help_line(o, 26, left, x->help);
        }
}

static void help_all(Output *o, const Program *program) {
        _cleanup_free_ char *more = alloc_printf(
                "`%s VERB --help` shows the options of a verb; aviommuctl(1) has all of it.",
                program->name);

        output_printf(o, "%s [OPTION...] VERB [ARGUMENT...]\n\n%s\n\nVerbs:\n", program->name,
                      program->summary);
        for (const Verb *v = program->verbs; v->name; v++) {
                char left[64];

                (void)snprintf(left, sizeof(left), "%s %s", v->name, strempty(v->arguments));
                help_line(o, 34, left, v->summary);
        }
        output_printf(o, "\nOptions:\n");
        help_options(o, program->options, program->n_options);
        help_options(o, global_options, ELEMENTSOF(global_options));
        output_printf(o, "\n");
        help_words(o, 0, more);
}

static void help_verb(Output *o, const Program *program, const Verb *v) {
        output_printf(o, "%s %s%s%s%s\n\n%s.\n", program->name, v->name,
                      v->n_options > 0 ? " [OPTION...]" : "", v->arguments ? " " : "",
                      strempty(v->arguments), v->summary);
        if (v->text)
                help_words(o, 0, v->text);
        if (v->n_options > 0) {
                output_printf(o, "\nOptions of %s:\n", v->name);
                help_options(o, v->options, v->n_options);
        }
        output_printf(o, "\nOptions of all verbs:\n");
        help_options(o, program->options, program->n_options);
        help_options(o, global_options, ELEMENTSOF(global_options));
}

static int parse_json(Ctl *ctl, const char *argument) {
        if (streq(argument, "short"))
                ctl->out.json = JSON_SHORT;
        else if (streq(argument, "pretty"))
                ctl->out.json = JSON_PRETTY;
        else if (streq(argument, "off"))
                ctl->out.json = JSON_OFF;
        else
                return ctl_usage(ctl, "\"%s\" is none of short, pretty, off", argument);
        return 0;
}

static int parse_timeout(Ctl *ctl, const char *argument) {
        uint64_t usec;

        if (seconds_parse(argument, &usec) < 0)
                return ctl_usage(ctl, "\"%s\" is not a number of seconds", argument);
        ctl->client.timeout_usec = usec ?: UINT64_MAX;
        return 0;
}

/* As many as a verb has at most, with those that the program gives all of its verbs. */
#define CTL_MAX_OPTIONS 16

/* Options that ask for something else than the verb: remembered, done when all has been read. */
typedef struct Wishes {
        bool help, version;
} Wishes;

static int take_global_option(Ctl *ctl, int id, const char *argument, Wishes *wishes) {
        switch (id) {
        case 'h':
                wishes->help = true;
                return 0;
        case OPTION_VERSION:
                wishes->version = true;
                return 0;
        case OPTION_JSON:
                return parse_json(ctl, argument);
        case 'j':
                ctl->out.json = ctl->out.is_tty ? JSON_PRETTY : JSON_SHORT;
                return 0;
        case OPTION_NO_LEGEND:
                ctl->out.legend = false;
                return 0;
        case 'q':
                ctl->quiet = ctl->client.quiet = true;
                return 0;
        case OPTION_NO_PAGER:
                ctl->out.may_page = false;
                return 0;
        case OPTION_TIMEOUT:
                return parse_timeout(ctl, argument);
        case OPTION_NO_ASK_PASSWORD:
                ctl->client.interactive = false;
                return 0;
        case OPTION_ADDRESS:
                free(ctl->client.address);
                ctl->client.address = alloc_printf("%s", argument);
                return 0;
        default:
                return -ENOENT;
        }
}

static size_t to_getopt(const CtlOption *options, size_t n, struct option *ret) {
        size_t k = 0;

        for (size_t i = 0; i < n; i++)
                if (*options[i].name)
                        ret[k++] = (struct option){ .name = options[i].name,
                                                    .has_arg = options[i].argument
                                                                       ? required_argument
                                                                       : no_argument,
                                                    .val = options[i].id };
        return k;
}

/* The letters for getopt_long(): those of all verbs, and the verb's own. */
static void to_letters(const Verb *verb, char ret[static 3 * CTL_MAX_OPTIONS]) {
        char *p = stpcpy(ret, verb ? "hjq" : "+hjq");

        for (size_t i = 0; verb && i < verb->n_options; i++)
                if (verb->options[i].id < OPTION_VERSION) {
                        *p++ = (char)verb->options[i].id;
                        if (verb->options[i].argument)
                                *p++ = ':';
                }
        *p = '\0';
}

/* Reads the options in @argv, those of @verb too when there is one. Without one, reads up to the first argument.
 * @ret_first: the index of the first argument. */
static int take_options(Ctl *ctl, const Program *program, const Verb *verb, int argc, char **argv,
                        Wishes *wishes, int *ret_first) {
        size_t n_verb = verb ? verb->n_options : 0, n;
        struct option options[ELEMENTSOF(global_options) + CTL_MAX_OPTIONS + 1];
        char letters[3 * CTL_MAX_OPTIONS];
        int id, r;

        assert(n_verb + program->n_options <= CTL_MAX_OPTIONS);
        n = to_getopt(global_options, ELEMENTSOF(global_options), options);
        n += to_getopt(program->options, program->n_options, options + n);
        if (n_verb > 0)
                n += to_getopt(verb->options, n_verb, options + n);
        options[n] = (struct option){};

        to_letters(verb, letters);
        optind = 0; /* begin anew */
        while ((id = getopt_long(argc, argv, letters, options, NULL)) >= 0) {
                if (id == '?') {
                        /* getopt_long() has said what is wrong */
                        (void)fprintf(stderr, "`%s %s%s--help` says what is possible.\n",
                                      program_invocation_short_name, verb ? verb->name : "",
                                      verb ? " " : "");
                        ctl->exit_code = CLIENT_EXIT_USAGE;
                        return -EINVAL;
                }
                r = take_global_option(ctl, id, optarg, wishes);
                if (r == -ENOENT && program->option)
                        r = program->option(ctl, id, optarg);
                if (r == -ENOENT) {
                        assert(verb); /* without one, getopt_long() knows the options of all only */
                        r = verb->option(ctl, id, optarg);
                }
                if (r < 0)
                        return r;
        }

        *ret_first = optind;
        return 0;
}

static const Verb *verb_find(const Program *program, const char *name) {
        for (const Verb *v = program->verbs; v->name; v++)
                if (streq(v->name, name))
                        return v;
        return NULL;
}

/* Returns true when a wish was granted and there is nothing more to do. */
static bool grant_wishes(Ctl *ctl, const Program *program, const Wishes *wishes, const Verb *verb) {
        if (wishes->help && verb)
                help_verb(&ctl->out, program, verb);
        else if (wishes->help)
                help_all(&ctl->out, program);
        else if (wishes->version)
                output_printf(&ctl->out, "%s %s\n", program->name, AVIOMMU_VERSION);
        return wishes->help || wishes->version;
}

int program_become(Ctl *ctl, const char *name, char **argv, int argc, int first) {
        const char *folder = getenv("AVIOMMU_LIBEXEC");
        _cleanup_free_ char *path = NULL, *title = NULL;
        _cleanup_free_ char **arguments = alloc_check(calloc((size_t)argc + 1, sizeof(char *)));
        int n = 0, error;

        path = alloc_printf("%s/%s", folder && *folder ? folder : AVIOMMU_LIBEXEC_DIR, name);
        title = alloc_printf("%s %s", argv[0], ctl->verb);
        arguments[n++] = title;
        for (int i = 1; i < argc; i++)
                if (i != first)
                        arguments[n++] = argv[i];

        (void)signal(SIGPIPE, SIG_DFL);
        (void)execv(path, arguments);
        error = errno;
        (void)signal(SIGPIPE, SIG_IGN);
        if (error == ENOENT)
                return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -error,
                                   "Install the package aviommu-libvirt, or set AVIOMMU_LIBEXEC to "
                                   "the folder that has it.",
                                   "Cannot run %s: %s", path, strerror(error));
        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -error, NULL, "Cannot run %s: %s",
                           path, strerror(error));
}

static int run(Ctl *ctl, const Program *program, int argc, char **argv) {
        Wishes wishes = {};
        const Verb *verb;
        int first, r;

        argv[0] = program_invocation_short_name; /* as getopt_long() shows it */
        r = take_options(ctl, program, NULL, argc, argv, &wishes, &first);
        if (r < 0)
                return r;
        if (first >= argc) {
                if (grant_wishes(ctl, program, &wishes, NULL))
                        return 0;
                return ctl_usage(ctl, "Which verb?");
        }
        if (streq(argv[first], "complete"))
                return complete_run(ctl, program, argc - first - 1, argv + first + 1);
        verb = verb_find(program, argv[first]);
        if (!verb)
                return ctl_usage(ctl, "There is no verb \"%s\"", argv[first]);
        ctl->verb = verb->name;
        if (verb->program)
                return program_become(ctl, verb->program, argv, argc, first);

        /* The verb's place becomes the program's, for getopt_long(). */
        argv += first;
        argc -= first;
        argv[0] = program_invocation_short_name;
        r = take_options(ctl, program, verb, argc, argv, &wishes, &first);
        if (r < 0)
                return r;
        if (grant_wishes(ctl, program, &wishes, verb))
                return 0;

        argv += first;
        argc -= first;
        if (argc < verb->min_args)
                return ctl_usage(ctl, "%s wants %s", verb->name, verb->arguments);
        if (verb->max_args >= 0 && argc > verb->max_args)
                return ctl_usage(ctl, "%s takes %s%s, and not \"%s\" as well", verb->name,
                                 verb->arguments ? "only " : "no arguments",
                                 strempty(verb->arguments), argv[verb->max_args]);
        return verb->run(ctl, argc, argv);
}

/* Nothing that is opened later may land on a standard descriptor that was closed: it would be written to. Reading it and writing to it
 * fail as before: whoever lets nobody read what we say, the token of a reservation say, is told so. */
static void open_standard_descriptors(void) {
        int fd;

        do
                fd = open("/dev/null", fcntl(STDIN_FILENO, F_GETFD) < 0 ? O_WRONLY : O_RDONLY);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd > STDERR_FILENO)
                (void)close(fd);
}

int program_run(const Program *program, int argc, char *argv[]) {
        const char *address = getenv("AVIOMMU_BUS_ADDRESS");
        Ctl ctl = {
                .client.interactive = true,
                .out = { .legend = true, .may_page = true },
                .request.leash_pidfd = -1,
        };
        Failure unwritten = {};
        int r, q;

        open_standard_descriptors();
        (void)setlocale(LC_CTYPE, ""); /* and no other: numbers look the same everywhere */
        (void)signal(SIGPIPE, SIG_IGN);
        if (address && *address)
                ctl.client.address = alloc_printf("%s", address);
        output_open(&ctl.out);

        r = run(&ctl, program, argc, argv);
        /* What there is to show comes before what went wrong. No failure is set where getopt_long() has said it. */
        q = output_flush(&ctl.out, &unwritten);
        if (r < 0 && ctl.failure.exit_code != CLIENT_EXIT_OK)
                ctl_report(&ctl, NULL);
        if (q < 0) {
                ctl_say_changed(&ctl, &unwritten);
                ctl.failure = unwritten;
                ctl_report(&ctl, NULL);
        }

        client_done(&ctl.client);
        request_done(&ctl.request);
        output_done(&ctl.out);
        free(ctl.fds);
        free(ctl.client.address);
        return ctl.exit_code;
}
