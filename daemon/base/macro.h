/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The few macros that every room uses: scoped cleanup, ownership transfer, array sizes.
 *
 * The daemon's invariants are asserts, and they are part of the product: a privileged process that goes on after a
 * broken invariant is worse than one that is restarted.
 */

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef NDEBUG
#error "aviommud keeps its assertions: build without NDEBUG"
#endif

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member)                                                            \
        ({                                                                                         \
                const typeof(((type *)0)->member) *_m = (ptr);                                     \
                (type *)((char *)_m - offsetof(type, member));                                     \
        })

#define MIN(a, b)                                                                                  \
        ({                                                                                         \
                typeof(a) _a = (a);                                                                \
                typeof(b) _b = (b);                                                                \
                _a < _b ? _a : _b;                                                                 \
        })
#define MAX(a, b)                                                                                  \
        ({                                                                                         \
                typeof(a) _a = (a);                                                                \
                typeof(b) _b = (b);                                                                \
                _a > _b ? _a : _b;                                                                 \
        })

/* Scoped destruction: `_cleanup_(vm_freep) Vm *vm = NULL;` */
#define _cleanup_(f)    __attribute__((cleanup(f)))
#define _cleanup_free_  _cleanup_(freep)
#define _cleanup_close_ _cleanup_(fd_closep)

#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_       __attribute__((unused))

/* Moves ownership out of @ptr, which is NULL (or -EBADF) afterwards. */
#define TAKE_GENERIC(var, type, nullvalue)                                                         \
        ({                                                                                         \
                type *_p = &(var);                                                                 \
                type _v = *_p;                                                                     \
                *_p = (nullvalue);                                                                 \
                _v;                                                                                \
        })
#define TAKE_PTR(ptr) TAKE_GENERIC(ptr, typeof(ptr), NULL)
#define TAKE_FD(fd)   TAKE_GENERIC(fd, int, -1)

#define DEFINE_CLEANUP(type, func)                                                                 \
        static inline void func##p(type **p) {                                                     \
                if (*p)                                                                            \
                        (void)func(*p);                                                            \
        }                                                                                          \
        struct _semicolon_##func

static inline void freep(void *p) {
        free(*(void **)p);
}

/* What a system call that has failed is returned as: never 0, which an analyzer does not know of errno. */
static inline int negative_errno(void) {
        assert(errno > 0);
        return -errno;
}

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

static inline const char *strempty(const char *s) {
        return s ?: "";
}

/* Allocates an array of @n zeroed @type; NULL on overflow or want of memory. */
#define new0(type, n) ((type *)calloc((n), sizeof(type)))

/* Keeps the first error of a sequence that goes on after a failure: `RET_GATHER(r, step());` */
#define RET_GATHER(ret, err)                                                                       \
        ({                                                                                         \
                int _e = (err);                                                                    \
                if ((ret) >= 0 && _e < 0)                                                          \
                        (ret) = _e;                                                                \
                _e;                                                                                \
        })
