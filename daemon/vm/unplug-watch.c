/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vm/unplug-watch.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd-util.h"

/* The kernel may ask once only: what has come to nothing is not forgotten. */
#define UNPLUG_RETRY_USEC UINT64_C(1000000)

static void ask(UnplugWatch *watch);

static int on_retry(sd_event_source *s, uint64_t usec, void *userdata) {
        UnplugWatch *watch = userdata;

        (void)s;
        (void)usec;
        watch->retry = sd_event_source_disable_unref(watch->retry);
        ask(watch);
        return 0;
}

static void ask(UnplugWatch *watch) {
        sd_event_source *s = watch->source;

        if (watch->wanted(watch->vm, &watch->function) < 0 && !watch->retry)
                (void)sd_event_add_time_relative(sd_event_source_get_event(s), &watch->retry,
                                                 CLOCK_MONOTONIC, UNPLUG_RETRY_USEC, 0, on_retry,
                                                 watch);
}

static int on_eventfd(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        UnplugWatch *watch = userdata;
        uint64_t count;

        (void)s;
        (void)revents;
        (void)!read(
                fd, &count,
                sizeof(count)); /* EAGAIN: somebody took it before; nothing is lost by asking twice */
        ask(watch);
        return 0;
}

UnplugWatch *unplug_watch_free(UnplugWatch *watch) {
        for (UnplugWatch **w = &watch->vm->unplug_watches; *w; w = &(*w)->next)
                if (*w == watch) {
                        *w = watch->next;
                        break;
                }
        sd_event_source_disable_unref(watch->source);
        sd_event_source_disable_unref(watch->retry);
        fd_close(watch->fd);
        free(watch);
        return NULL;
}

static int unplug_watch_new(Vm *vm, sd_event *event, const ContextFunction *f,
                            UnplugWanted wanted) {
        UnplugWatch *watch = new0(UnplugWatch, 1);
        int r;

        if (!watch)
                return -ENOMEM;

        *watch = (UnplugWatch){
                .vm = vm, .function = f->address, .fd = fd_dup(f->unplug_fd), .wanted = wanted
        };
        watch->next = vm->unplug_watches;
        vm->unplug_watches = watch;

        r = watch->fd < 0
                    ? watch->fd
                    : sd_event_add_io(event, &watch->source, watch->fd, EPOLLIN, on_eventfd, watch);
        if (r < 0)
                unplug_watch_free(watch);
        return r;
}

static UnplugWatch *unplug_watch_find(const Vm *vm, const PciAddress *function) {
        for (UnplugWatch *w = vm->unplug_watches; w; w = w->next)
                if (pci_address_equal(&w->function, function))
                        return w;
        return NULL;
}

int unplug_watches_sync(Vm *vm, sd_event *event, UnplugWanted wanted) {
        int r = 0;

        for (UnplugWatch *w = vm->unplug_watches, *next; w; w = next) {
                const ContextFunction *f = context_find_function(&vm->context, &w->function);

                next = w->next;
                if (!f || f->unplug_fd < 0)
                        unplug_watch_free(w);
        }

        for (size_t i = 0; i < vm->context.n_functions; i++) {
                const ContextFunction *f = vm->context.functions + i;

                if (f->unplug_fd >= 0 && !unplug_watch_find(vm, &f->address))
                        RET_GATHER(r, unplug_watch_new(vm, event, f, wanted));
        }
        return r;
}

int unplug_eventfd_new(int *ret) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
                return -errno;
        *ret = fd;
        return 0;
}
