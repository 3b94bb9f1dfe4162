/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/request-option.h"

#include <errno.h>
#include <limits.h>
#include <sys/pidfd.h>

#include "lib/alloc.h"

int pidfd_from_argument(Ctl *ctl, const char *argument) {
        uint64_t pid;
        int fd;

        if (number_parse(argument, &pid) < 0 || pid < 1 || pid > INT_MAX)
                return ctl_usage(ctl, "\"%s\" is not a process id", argument);

        fd = pidfd_open((pid_t)pid, 0);
        if (fd >= 0)
                return fd;
        if (errno == ESRCH)
                return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ESRCH,
                                   "Give the process id of the VMM, as `pgrep` or its supervisor "
                                   "says it.",
                                   "There is no process %s", argument);
        return failure_set(&ctl->failure, errno == EINVAL ? CLIENT_EXIT_USAGE : CLIENT_EXIT_FAILED,
                           -errno, "A leash wants a process, not a thread of one.",
                           "Cannot open process %s: %s", argument, strerror(errno));
}

static int add_function(Ctl *ctl, const char *argument) {
        Request *q = &ctl->request;
        RequestFunction f;

        if (request_function_parse(argument, &f) < 0)
                return ctl_usage(ctl,
                                 "\"%s\" is not a function (SSSS:BB:DD.F, or with the address in "
                                 "the guest SSSS:BB:DD.F=BB:DD.F)",
                                 argument);
        q->functions = alloc_grow(q->functions, q->n_functions, sizeof(RequestFunction));
        q->functions[q->n_functions++] = f;
        return 0;
}

static int remove_function(Ctl *ctl, const char *argument) {
        Request *q = &ctl->request;
        RequestFunction f = {};
        int r;

        r = ctl_parse_address(ctl, argument, f.address);
        if (r < 0)
                return r;
        q->removed = alloc_grow(q->removed, q->n_removed, sizeof(RequestFunction));
        q->removed[q->n_removed++] = f;
        return 0;
}

/* --vf-token and --managed belong to the --function before them. */
static int function_option(Ctl *ctl, int id, const char *argument) {
        Request *q = &ctl->request;
        RequestFunction *f;

        if (q->n_functions == 0)
                return ctl_usage(ctl, "--vf-token= and --managed come after the function that they "
                                      "are about");
        f = &q->functions[q->n_functions - 1];
        if (id == OPTION_MANAGED)
                f->is_managed = true;
        else if (uuid_parse(argument, f->vf_token) < 0)
                return ctl_usage(ctl, "\"%s\" is not a VF token (a UUID)", argument);
        return 0;
}

int attach_option(Ctl *ctl, int id, const char *argument) {
        if (id == OPTION_MEMORY)
                return request_option(ctl, id, argument);
        if (ctl->request.n_functions == 0) {
                ctl->request.functions = alloc_grow(ctl->request.functions, 0,
                                                    sizeof(RequestFunction));
                ctl->request.functions[0] = (RequestFunction){};
                ctl->request.n_functions = 1;
        }
        return function_option(ctl, id, argument);
}

/* An empty text would be left out of the request. It comes from a variable that is not set: with --tenant= the VM would be on nobody's
 * account. */
static int take_text(Ctl *ctl, const char *option, const char *argument, const char **ret) {
        if (!*argument)
                return ctl_usage(ctl, "--%s= wants a text that is not empty", option);
        *ret = argument;
        return 0;
}

int request_option(Ctl *ctl, int id, const char *argument) {
        Request *q = &ctl->request;
        uint64_t number;

        switch (id) {
        case OPTION_NAME:
                return take_text(ctl, "name", argument, &q->name);
        case OPTION_TIER:
                return take_text(ctl, "tier", argument, &q->tier);
        case OPTION_HANDOVER:
                return take_text(ctl, "handover", argument, &q->handover);
        case OPTION_TENANT:
                return take_text(ctl, "tenant", argument, &q->tenant);
        case OPTION_FUNCTION:
                return add_function(ctl, argument);
        case OPTION_REMOVE_FUNCTION:
                return remove_function(ctl, argument);
        case OPTION_AUTOSTART:
        case OPTION_NO_AUTOSTART:
                q->has_autostart = true;
                q->is_autostart = id == OPTION_AUTOSTART;
                return 0;
        case OPTION_VF_TOKEN:
        case OPTION_MANAGED:
                return function_option(ctl, id, argument);
        case OPTION_MEMORY:
                if (size_parse(argument, &q->memory_bytes) < 0)
                        return ctl_usage(ctl, "\"%s\" is not a size (such as 4G)", argument);
                q->has_memory = true;
                return 0;
        case OPTION_GUEST_DOMAINS:
                if (number_parse(argument, &number) < 0 || number > UINT32_MAX)
                        return ctl_usage(ctl, "\"%s\" is not a number of guest domains", argument);
                q->n_guest_domains = (uint32_t)number;
                q->has_guest_domains = true;
                return 0;
        case OPTION_LEASH:
                if (q->leash_pidfd >= 0 || q->is_reported)
                        return ctl_usage(ctl, "--leash= is given twice");
                q->is_reported = streq(argument, "agent");
                if (q->is_reported)
                        return 0;
                q->leash_pidfd = pidfd_from_argument(ctl, argument);
                return MIN(q->leash_pidfd, 0);
        case OPTION_HOLD:
                q->is_held = true;
                return 0;
        case OPTION_RESERVATION:
                if (!*argument)
                        return ctl_usage(ctl, "--reservation= wants the token of a reservation");
                q->reservation = argument;
                return 0;
        case OPTION_TTL:
                if (seconds_parse(argument, &ctl->ttl_usec) < 0 || ctl->ttl_usec == 0)
                        return ctl_usage(ctl, "\"%s\" is not a number of seconds to keep it",
                                         argument);
                return 0;
        default:
                assert(false);
                return -EINVAL;
        }
}
