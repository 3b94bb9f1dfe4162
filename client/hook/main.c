/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommu-libvirt-hook: libvirt calls it as NAME OPERATION SUBOPERATION EXTRA, with the domain's XML on stdin. stdout stays empty, which
 * leaves the XML as it is. See aviommu-libvirt-hook(8).
 */
#include "hook/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "hook/input.h"
#include "hook/qemu.h"
#include "hook/vm.h"

#if !defined AVIOMMU_VERSION || !defined AVIOMMU_LIBVIRT_CONFIG_FILE
#error "The build has to define AVIOMMU_VERSION and AVIOMMU_LIBVIRT_CONFIG_FILE"
#endif

/* libvirt gives exactly these: before them there may be options, and a domain may be named like one. */
#define N_ARGUMENTS 4

#define END_TIMEOUT_USEC ((uint64_t)3000000)

static const char usage[] =
        "usage: aviommu-libvirt-hook [OPTION...] NAME OPERATION SUBOPERATION EXTRA\n"
        "           <DOMAIN.xml\n"
        "\n"
        "Called by libvirt, see aviommu-libvirt-hook(8).\n"
        "\n"
        "  --config=FILE   Instead of " AVIOMMU_LIBVIRT_CONFIG_FILE "\n"
        "  --run-dir=DIR   Where libvirt keeps its pid files\n"
        "  --bus=ADDRESS   Instead of the system bus\n"
        "  --version       Show the version (and nothing else)\n"
        "  --help          Show this\n";

/* ---- what is on stdin ---- */

/* Whatever mentions the namespace wants something. */
static HookAsks guess_asks(const char *xml, size_t length) {
        if (!xml || length == 0)
                return HOOK_ASKS_UNKNOWN;
        return memmem(xml, length, DOMAIN_XMLNS, strlen(DOMAIN_XMLNS)) ? HOOK_ASKS : HOOK_ASKS_NOT;
}

/* Reads the domain. On failure says why; h->asks is set in any case. Returns 0 or a negative errno. */
static int read_domain(Hook *h) {
        _cleanup_free_ char *xml = NULL, *why = NULL;
        size_t length;
        int r;

        r = input_read(STDIN_FILENO, DOMAIN_XML_SIZE_MAX, &h->watch, &xml, &length);
        h->asks = r < 0 ? HOOK_ASKS_UNKNOWN : guess_asks(xml, length);
        if (r == -EFBIG)
                hook_warn("The XML of domain %s has more than %zu MiB.", h->name,
                          DOMAIN_XML_SIZE_MAX >> 20);
        else if (r < 0)
                hook_warn("The XML of domain %s cannot be read from stdin: %s.", h->name,
                          strerror(-r));
        if (r < 0)
                return r;

        r = hook_task_may_refuse(h->task) ? domain_parse(xml, length, &h->domain, &why)
                                          : domain_parse_started(xml, length, &h->domain, &why);
        if (r < 0) {
                hook_warn("The XML of domain %s cannot be taken: %s", h->name, why ?: strerror(-r));
                return r;
        }
        if (h->domain.bad_request)
                hook_warn("The request of domain %s is not taken: %s", h->name,
                          h->domain.bad_request);
        h->asks = h->domain.asks ? HOOK_ASKS : HOOK_ASKS_NOT;
        (void)sd_id128_to_uuid_string(h->domain.uuid, h->uuid);
        return 0;
}

/* ---- the work ---- */

/* For when nothing answers, and nothing says so in time. */
static void set_last_word(Hook *h) {
        HookCase c = { h->task, HOOK_DOWN, h->asks, h->domain.runs_otherwise, &h->config };

        if (h->decision.verdict == DOMAIN_LEFT_ALONE)
                c.outcome = HOOK_DONE;
        watch_set_last_word(&h->watch, hook_judge(&c),
                            "No answer from aviommud or the message bus within %s.\n",
                            HOOK_TIMEOUT(h));
}

/* libvirt calls these after a start that was refused, too, which may have taken all its time already; and what they have sent is seen to,
 * whether they wait for it or not. */
static uint64_t time_for_task(const Hook *h) {
        return h->task == HOOK_TAKE_BACK || h->task == HOOK_RELEASE
                       ? MIN(h->config.timeout_usec, END_TIMEOUT_USEC)
                       : h->config.timeout_usec;
}

static HookOutcome work(Hook *h) {
        _cleanup_free_ char *why = NULL;
        bool has_config;
        int r;

        r = libvirt_config_read(h->config_path, &h->config, &why);
        has_config = r >= 0;
        watch_set_timeout(&h->watch, time_for_task(h));
        if (!has_config) /* by the defaults, for those who do not ask */
                hook_warn("%s%s%s", why ?: h->config_path, why ? "" : ": ",
                          why ? "" : strerror(-r));

        if (read_domain(h) < 0)
                return HOOK_UNREADABLE;
        domain_decide(&h->domain, &h->config, &h->decision);
        set_last_word(h);
        if (!has_config && h->asks != HOOK_ASKS_NOT && hook_task_may_refuse(h->task))
                return HOOK_UNREADABLE;

        switch (h->task) {
        case HOOK_ASK:
                return hook_ask(h);
        case HOOK_ADMIT:
                return hook_admit(h);
        case HOOK_COMPLETE:
                return hook_complete(h);
        case HOOK_LEASH:
                hook_leash(h);
                return HOOK_DONE;
        default:
                hook_take_back(h);
                return HOOK_DONE;
        }
}

static void *work_main(void *userdata) {
        Hook *h = userdata;
        HookCase c = { .task = h->task };

        c.outcome = work(h);
        c.asks = h->asks;
        c.runs_otherwise = h->domain.runs_otherwise;
        c.config = &h->config;

        h->client.bus = sd_bus_close_unref(
                h->client.bus); /* without a flush, which might not end */
        watch_finish(&h->watch, hook_judge(&c));
        return NULL;
}

static int run(Hook *h) {
        pthread_t thread;
        int r;

        libvirt_config_init(&h->config);
        h->asks = HOOK_ASKS_UNKNOWN;
        r = watch_start(&h->watch, h->config.timeout_usec);
        watch_set_last_word(&h->watch,
                            hook_task_may_refuse(h->task) ? HOOK_EXIT_REFUSED : HOOK_EXIT_RUN,
                            "The domain could not be read within TimeoutSec=.\n");
        if (r >= 0)
                r = -pthread_create(&thread, NULL, work_main, h);
        if (r < 0) {
                HookCase c = { h->task, HOOK_UNREADABLE, HOOK_ASKS_UNKNOWN, false, &h->config };

                hook_warn("The hook cannot begin: %s.", strerror(-r));
                r = hook_judge(&c);
        } else {
                r = watch_wait(&h->watch);
                (void)pthread_join(thread, NULL);
        }

        domain_done(&h->domain);
        libvirt_config_done(&h->config);
        return r;
}

/* ---- arguments ---- */

static const char *value_of(const char *argument, const char *option) {
        size_t n = strlen(option);

        return strncmp(argument, option, n) == 0 ? argument + n : NULL;
}

static int parse_option(Hook *h, const char *argument) {
        const char *value;

        if ((value = value_of(argument, "--config=")))
                h->config_path = value;
        else if ((value = value_of(argument, "--run-dir=")))
                h->run_dir = value;
        else if ((value = value_of(argument, "--bus="))) {
                free(h->client.address);
                h->client.address = strdup(value);
                if (!h->client.address)
                        return -ENOMEM;
        } else
                return -EINVAL;
        return 0;
}

/* Nothing that is opened later may land on a standard descriptor that was closed: it would be written to. */
static void open_standard_descriptors(void) {
        int fd;

        do
                fd = open("/dev/null", O_RDWR);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd > STDERR_FILENO)
                (void)close(fd);
}

int main(int argc, char *argv[]) {
        char run_dir[QEMU_RUN_DIR_SIZE];
        Hook h = {
                .config_path = AVIOMMU_LIBVIRT_CONFIG_FILE,
                .run_dir = qemu_run_dir(run_dir),
                .client.quiet = true,
        };
        char **arguments = argv + argc - N_ARGUMENTS;
        int code;

        open_standard_descriptors();
        /* libvirt says LC_ALL=C, and takes UTF-8. */
        (void)setlocale(LC_CTYPE, "C.UTF-8");
        (void)signal(SIGPIPE, SIG_IGN);

        if (argc == 2 && streq(argv[1], "--help"))
                return printf("%s", usage) < 0;
        if (argc == 2 && streq(argv[1], "--version"))
                return printf("aviommu-libvirt-hook %s\n", AVIOMMU_VERSION) < 0;
        if (argc < 1 + N_ARGUMENTS) {
                (void)fputs(usage, stderr);
                return HOOK_EXIT_USAGE;
        }
        for (char **a = argv + 1; a < arguments; a++)
                if (parse_option(&h, *a) < 0) {
                        (void)fprintf(stderr, "aviommu-libvirt-hook: unknown option\n%s", usage);
                        free(h.client.address);
                        return HOOK_EXIT_USAGE;
                }

        h.name = arguments[0];
        h.task = hook_task(arguments[1], arguments[2]);
        h.reason = arguments[3];
        code = h.task == HOOK_NOTHING ? HOOK_EXIT_RUN : run(&h);
        free(h.client.address);
        return code;
}
