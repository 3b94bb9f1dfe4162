/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "lib/alloc.h"

#define DEVICE_PREFIX "{device:"

/* ---- options ---- */

static int parse_number(Ctl *ctl, const char *argument, int *ret) {
        uint64_t number;

        if (number_parse(argument, &number) < 0 || number > INT_MAX)
                return ctl_usage(ctl, "\"%s\" is not the number of a descriptor", argument);
        *ret = (int)number;
        return 0;
}

int exec_option(Ctl *ctl, int id, const char *argument) {
        ExecFd fd = { .is_kept = id == OPTION_FD_KEEP };
        const char *number = argument;
        int r;

        if (id == OPTION_FD_DEVICE) {
                _cleanup_free_ char *address = NULL;

                number = strchrnul(argument, '=');
                address = alloc_check(strndup(argument, (size_t)(number - argument)));
                if (!*number)
                        return ctl_usage(ctl, "\"%s\" is not FUNCTION=N", argument);
                r = ctl_parse_address(ctl, address, fd.function);
                if (r < 0)
                        return r;
                number++;
        }
        r = parse_number(ctl, number, &fd.number);
        if (r < 0)
                return r;

        /* Nothing of our own is open yet: what is comes from whoever started us, and goes unless it is kept. */
        if (fd.is_kept && fcntl(fd.number, F_GETFD) < 0)
                return ctl_usage(ctl, "Descriptor %d is not open, so it cannot be kept", fd.number);
        if (!fd.is_kept && fd.number <= STDERR_FILENO)
                return ctl_usage(ctl, "Descriptor %d is in use already", fd.number);
        for (size_t i = 0; i < ctl->n_fds; i++)
                if (ctl->fds[i].number == fd.number)
                        return ctl_usage(ctl, "Descriptor %d is given twice", fd.number);

        ctl->fds = alloc_grow(ctl->fds, ctl->n_fds, sizeof(ExecFd));
        ctl->fds[ctl->n_fds++] = fd;
        return 0;
}

/* ---- items ---- */

void exec_plan_done(ExecPlan *p) {
        for (size_t i = 0; i < p->n_items; i++)
                (void)fd_close(p->items[i].fd);
        free(p->items);
        *p = (ExecPlan){};
}

static void add_item(ExecPlan *p, const char *function) {
        ExecItem item = { .number = -1, .fd = -1 };

        (void)snprintf(item.function, sizeof(item.function), "%s", function);
        p->items = alloc_grow(p->items, p->n_items, sizeof(ExecItem));
        p->items[p->n_items++] = item;
}

static ExecItem *find_item(const ExecPlan *p, const char *function) {
        for (size_t i = 0; i < p->n_items; i++)
                if (streq(p->items[i].function, function))
                        return p->items + i;
        return NULL;
}

/* The VM has no such descriptor to give: why. */
static int no_item(Ctl *ctl, const ExecPlan *p, const char *function) {
        if (streq(p->handover, "none"))
                return failure_set(
                        &ctl->failure, CLIENT_EXIT_FAILED, -ENOENT,
                        "The VMM opens everything itself: leave the placeholder out.",
                        "The VM has handover none: there is no descriptor of it to give");
        if (streq(p->handover, "vmm"))
                return failure_set(
                        &ctl->failure, CLIENT_EXIT_FAILED, -ENOENT,
                        "Name the function to the VMM instead: QEMU takes host=FUNCTION.",
                        "The VM has handover vmm: its VMM opens %s itself, on the iommufd",
                        function);
        return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                           "`aviommuctl show` lists its functions.", "The VM has no function %s",
                           function);
}

/* ---- placeholders ---- */

typedef struct Placeholder {
        const char *begin, *end;
        enum { PLACEHOLDER_IOMMUFD, PLACEHOLDER_DEVICE, PLACEHOLDER_IOAS, PLACEHOLDER_HWPT } kind;
        char function[PCI_ADDRESS_STRING_SIZE];
} Placeholder;

/* The next one in @s. Other braces mean something to somebody else. Returns 0, -ENOENT, or -EINVAL with @ret's begin and end set. */
static int placeholder_find(const char *s, Placeholder *ret) {
        static const struct {
                const char *text;
                int kind;
        } words[] = {
                { "{iommufd}", PLACEHOLDER_IOMMUFD },
                { "{ioas}", PLACEHOLDER_IOAS },
                { "{hwpt}", PLACEHOLDER_HWPT },
        };

        for (s = strchr(s, '{'); s; s = strchr(s + 1, '{')) {
                Placeholder p = { .begin = s };

                for (size_t i = 0; i < ELEMENTSOF(words); i++)
                        if (strncmp(s, words[i].text, strlen(words[i].text)) == 0) {
                                p.end = s + strlen(words[i].text);
                                p.kind = words[i].kind;
                                *ret = p;
                                return 0;
                        }
                if (strncmp(s, DEVICE_PREFIX, strlen(DEVICE_PREFIX)) == 0) {
                        const char *address = s + strlen(DEVICE_PREFIX),
                                   *end = strchrnul(address, '}');
                        char text[PCI_ADDRESS_STRING_SIZE];
                        PciAddress a;

                        p.kind = PLACEHOLDER_DEVICE;
                        p.end = end + !!*end;
                        *ret = p;
                        if (!*end || (size_t)(end - address) >= sizeof(text))
                                return -EINVAL;
                        (void)snprintf(text, sizeof(text), "%.*s", (int)(end - address), address);
                        if (pci_address_parse(text, &a) < 0)
                                return -EINVAL;
                        pci_address_format(&a, ret->function);
                        return 0;
                }
        }
        return -ENOENT;
}

static int look_through(Ctl *ctl, ExecPlan *p, const char *argument) {
        Placeholder found;
        int r;

        for (; (r = placeholder_find(argument, &found)) != -ENOENT; argument = found.end) {
                ExecItem *item;

                if (r < 0)
                        return ctl_usage(ctl, "\"%.*s\" is not {device:SSSS:BB:DD.F}",
                                         (int)MIN(found.end - found.begin, 64), found.begin);
                if (found.kind == PLACEHOLDER_IOAS || found.kind == PLACEHOLDER_HWPT) {
                        if (!streq(p->handover, "daemon"))
                                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -ENOENT, NULL,
                                                   "The VM has handover %s: its VMM makes the "
                                                   "kernel objects, so there are no ids yet",
                                                   p->handover);
                        p->wants_ids = true;
                        continue;
                }
                item = find_item(p, found.function);
                if (!item)
                        return no_item(ctl, p, found.function);
                item->is_placed = true;
        }
        return 0;
}

int exec_plan_make(Ctl *ctl, const char *uuid, const char *handover,
                   const VmFunctionList *functions, char **arguments, ExecPlan *ret) {
        _cleanup_(exec_plan_done) ExecPlan p = { .uuid = uuid, .handover = handover };
        int r;

        if (!streq(handover, "none"))
                add_item(&p, "");
        for (size_t i = 0; i < functions->n && streq(handover, "daemon"); i++)
                add_item(&p, functions->items[i].address);

        for (size_t i = 0; i < ctl->n_fds; i++) {
                const ExecFd *fd = ctl->fds + i;
                ExecItem *item = find_item(&p, fd->function);

                if (fd->is_kept)
                        continue;
                if (!item)
                        return no_item(ctl, &p, fd->function);
                if (item->number >= 0)
                        return ctl_usage(ctl, "%s is to be descriptor %d and %d",
                                         *fd->function ? fd->function : "The iommufd", item->number,
                                         fd->number);
                item->number = fd->number;
                item->is_placed = true;
        }
        for (; *arguments; arguments++) {
                r = look_through(ctl, &p, *arguments);
                if (r < 0)
                        return r;
        }

        for (size_t i = 0; i < p.n_items; i++) {
                const char *function = p.items[i].function;

                if (p.items[i].is_placed)
                        continue;
                if (!*function)
                        return ctl_usage(ctl,
                                         "The command does not get the iommufd: no argument has "
                                         "{iommufd}, and there is no --fd-iommufd=");
                return ctl_usage(
                        ctl,
                        "The command does not get %s, which would be lost: no argument has "
                        "{device:%s}, and there is no --fd-device=%s=N",
                        function, function, function);
        }

        *ret = p;
        p = (ExecPlan){};
        return 0;
}

/* Of a placeholder that exec_plan_make() has found. */
static long long placeholder_number(const ExecPlan *p, const Placeholder *placeholder) {
        const ExecItem *item = find_item(p, placeholder->function);

        switch (placeholder->kind) {
        case PLACEHOLDER_IOAS:
                return p->ioas;
        case PLACEHOLDER_HWPT:
                return p->hwpt;
        default:
                assert(item);
                return exec_item_number(item);
        }
}

/* Takes @all over. */
static char *append(char *all, const char *s, size_t n) {
        char *longer = alloc_printf("%s%.*s", all, (int)n, s);

        free(all);
        return longer;
}

static char *substitute(const ExecPlan *p, const char *argument) {
        char *all = alloc_printf("%s", "");
        Placeholder found;

        while (placeholder_find(argument, &found) >= 0) {
                char number[32];

                (void)snprintf(number, sizeof(number), "%lld", placeholder_number(p, &found));
                all = append(all, argument, (size_t)(found.begin - argument));
                all = append(all, number, strlen(number));
                argument = found.end;
        }
        return append(all, argument, strlen(argument));
}

char **exec_arguments_new(const ExecPlan *p, char **arguments) {
        char **all;
        size_t n = 0;

        while (arguments[n])
                n++;
        all = alloc_check(calloc(n + 1, sizeof(char *)));
        for (size_t i = 0; i < n; i++)
                all[i] = substitute(p, arguments[i]);
        return all;
}

char **exec_arguments_free(char **arguments) {
        for (size_t i = 0; arguments && arguments[i]; i++)
                free(arguments[i]);
        free(arguments);
        return NULL;
}
