/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/input.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define INITIAL_SIZE ((size_t)64 << 10)

static int wait_readable(int fd, Watch *watch) {
        struct pollfd p = { .fd = fd, .events = POLLIN };

        for (;;) {
                uint64_t left = watch_left(watch);
                int r;

                if (left == 0)
                        return -ETIMEDOUT;
                r = poll(&p, 1, (int)MIN(left / 1000 + 1, (uint64_t)1000000));
                if (r > 0)
                        return p.revents & POLLNVAL ? -EBADF : 0;
                if (r < 0 && errno != EINTR)
                        return negative_errno();
        }
}

static int grow(char **text, size_t *size, size_t size_max) {
        size_t wanted = *size > 0 ? *size * 2 : INITIAL_SIZE;
        char *grown;

        wanted = MIN(wanted, size_max + 1);
        grown = realloc(*text, wanted + 1);
        if (!grown)
                return -ENOMEM;
        *text = grown;
        *size = wanted;
        return 0;
}

int input_read(int fd, size_t size_max, Watch *watch, char **ret, size_t *ret_length) {
        size_t size = 0, n = 0;
        char *text = NULL;
        int r;

        for (;;) {
                ssize_t k;

                r = n == size ? grow(&text, &size, size_max) : 0;
                if (r >= 0)
                        r = wait_readable(fd, watch);
                if (r < 0)
                        break;
                k = read(fd, text + n, size - n);
                if (k < 0 && (errno == EINTR || errno == EAGAIN))
                        continue;
                r = k < 0 ? negative_errno() : 0;
                if (k <= 0)
                        break;
                n += (size_t)k;
                if (n > size_max) {
                        n = size_max;
                        r = -EFBIG;
                        break;
                }
        }

        if (text)
                text[n] = '\0';
        *ret = text;
        *ret_length = n;
        return r;
}
