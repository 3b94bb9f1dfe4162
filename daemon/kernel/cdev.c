/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <time.h>

#include "kernel/kernel.h"

#define TRIES      20
#define PAUSE_NSEC 50000000

int kernel_open_cdev(Kernel *k, const PciAddress *function, int *ret_cdev) {
        int r = -EACCES;

        for (unsigned i = 0; i < TRIES && r == -EACCES; i++) {
                if (i > 0)
                        (void)nanosleep(&(struct timespec){ .tv_nsec = PAUSE_NSEC }, NULL);
                r = k->ops->cdev_open(k, function, ret_cdev);
        }
        return r;
}
