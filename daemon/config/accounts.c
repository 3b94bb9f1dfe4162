/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/accounts.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "config/config-reader.h"

/* For one entry: a group has all of its members in it. */
#define ENTRY_BYTES_MIN ((size_t)16384)
#define ENTRY_BYTES_MAX ((size_t)16 << 20)

/* Returns 0, -ERANGE when @size is too small, -ESRCH. */
typedef int (*Look)(const char *name, char *buf, size_t size, uint32_t *ret);

static int look_for_user(const char *name, char *buf, size_t size, uint32_t *ret) {
        struct passwd pwd, *found = NULL;
        int e = getpwnam_r(name, &pwd, buf, size, &found);

        if (e != 0 || !found)
                return e == ERANGE ? -ERANGE : -ESRCH;
        *ret = found->pw_uid;
        return 0;
}

static int look_for_group(const char *name, char *buf, size_t size, uint32_t *ret) {
        struct group grp, *found = NULL;
        int e = getgrnam_r(name, &grp, buf, size, &found);

        if (e != 0 || !found)
                return e == ERANGE ? -ERANGE : -ESRCH;
        *ret = found->gr_gid;
        return 0;
}

static int find(const char *name, Look look, uint32_t *ret) {
        uint64_t v;

        if (config_parse_number(name, &v) >= 0) {
                if (v >= UINT32_MAX) /* which stands for none */
                        return -ESRCH;
                *ret = (uint32_t)v;
                return 0;
        }
        for (size_t size = ENTRY_BYTES_MIN; size <= ENTRY_BYTES_MAX; size *= 4) {
                _cleanup_free_ char *buf = malloc(size);
                int r;

                if (!buf)
                        return -ENOMEM;
                r = look(name, buf, size, ret);
                if (r != -ERANGE)
                        return r;
        }
        return -ESRCH;
}

int account_find_uid(const char *name, uid_t *ret) {
        return find(name, look_for_user, ret);
}

int account_find_gid(const char *name, gid_t *ret) {
        return find(name, look_for_group, ret);
}

/* *ret_buf, which the caller frees, holds the strings. */
static int find_user(uid_t uid, struct passwd *ret, char **ret_buf) {
        for (size_t size = ENTRY_BYTES_MIN; size <= ENTRY_BYTES_MAX; size *= 4) {
                _cleanup_free_ char *buf = malloc(size);
                struct passwd *found = NULL;
                int e;

                if (!buf)
                        return -ENOMEM;
                e = getpwuid_r(uid, ret, buf, size, &found);
                if (e == ERANGE)
                        continue;
                if (e != 0 || !found)
                        return -ESRCH;
                *ret_buf = TAKE_PTR(buf);
                return 0;
        }
        return -ESRCH;
}

int account_get_groups(uid_t uid, gid_t **ret, size_t *ret_n) {
        _cleanup_free_ gid_t *groups = new0(gid_t, ACCOUNT_GROUPS_MAX);
        _cleanup_free_ char *buf = NULL;
        int n = ACCOUNT_GROUPS_MAX, r;
        struct passwd pwd;

        if (!groups)
                return -ENOMEM;
        r = find_user(uid, &pwd, &buf);
        if (r < 0)
                return r;
        if (getgrouplist(pwd.pw_name, pwd.pw_gid, groups, &n) < 0)
                n = ACCOUNT_GROUPS_MAX; /* there are more */
        *ret = TAKE_PTR(groups);
        *ret_n = (size_t)n;
        return 0;
}
