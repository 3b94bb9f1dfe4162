/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/starts.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int starts_append(Starts *starts, sd_id128_t uuid) {
        sd_id128_t *grown = reallocarray(starts->uuids, starts->n + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        starts->uuids = grown;
        grown[starts->n++] = uuid;
        return 0;
}

static int starts_read(Starts *starts, FILE *file) {
        char line[64];

        while (starts->n < STARTS_MAX && fgets(line, sizeof(line), file)) {
                sd_id128_t uuid;
                int r;

                line[strcspn(line, "\n")] = '\0';
                if (sd_id128_from_string(line, &uuid) < 0)
                        continue;
                r = starts_append(starts, uuid);
                if (r < 0)
                        return r;
        }
        return ferror(file) ? -EIO : 0;
}

int starts_open(Starts *starts, const char *folder) {
        FILE *file;
        int r;

        *starts = (Starts){};
        if (!folder)
                return 0;
        if (asprintf(&starts->path, "%s/starts", folder) < 0) {
                starts->path = NULL;
                return -ENOMEM;
        }
        file = fopen(starts->path, "re");
        if (!file) {
                r = errno == ENOENT ? 0 : negative_errno();
                if (r < 0)
                        starts_done(starts);
                return r;
        }
        r = starts_read(starts, file);
        (void)fclose(file);
        if (r < 0) {
                starts_done(starts);
                return r;
        }
        starts->decided = true;
        return 0;
}

void starts_done(Starts *starts) {
        free(starts->path);
        free(starts->uuids);
        *starts = (Starts){};
}

bool starts_has(const Starts *starts, sd_id128_t uuid) {
        for (size_t i = 0; i < starts->n; i++)
                if (sd_id128_equal(starts->uuids[i], uuid))
                        return true;
        return false;
}

/* Writes all but @without. No fsync: the file is to outlive us, not the boot. */
static int starts_write(const Starts *starts, sd_id128_t without) {
        _cleanup_free_ char *temporary = NULL;
        FILE *file;
        int r = 0;

        if (asprintf(&temporary, "%s.new", starts->path) < 0) {
                temporary = NULL;
                return -ENOMEM;
        }
        file = fopen(temporary, "we");
        if (!file)
                return negative_errno();
        for (size_t i = 0; i < starts->n && r >= 0; i++)
                if (!sd_id128_equal(starts->uuids[i], without))
                        r = fprintf(file, SD_ID128_UUID_FORMAT_STR "\n",
                                    SD_ID128_FORMAT_VAL(starts->uuids[i]));
        r = r < 0 ? -EIO : 0;
        if (fclose(file) != 0)
                RET_GATHER(r, negative_errno());
        if (r >= 0 && rename(temporary, starts->path) < 0)
                r = negative_errno();
        if (r < 0)
                (void)unlink(temporary);
        return r;
}

int starts_decide(Starts *starts, const sd_id128_t *uuids, size_t n) {
        Starts new = { .path = starts->path, .decided = true };
        int r;

        if (!starts->path)
                return -ENOENT;
        new.uuids = new0(sd_id128_t, n + 1);
        if (!new.uuids)
                return -ENOMEM;
        new.n = MIN(n, (size_t)STARTS_MAX);
        if (new.n > 0)
                memcpy(new.uuids, uuids, new.n * sizeof(*uuids));
        r = starts_write(&new, SD_ID128_NULL);
        if (r < 0) {
                free(new.uuids);
                return r;
        }
        free(starts->uuids);
        *starts = new;
        return 0;
}

int starts_remove(Starts *starts, sd_id128_t uuid) {
        size_t n = 0;
        int r;

        if (!starts_has(starts, uuid))
                return 0;
        r = starts_write(starts, uuid);
        if (r < 0)
                return r;
        for (size_t i = 0; i < starts->n; i++)
                if (!sd_id128_equal(starts->uuids[i], uuid))
                        starts->uuids[n++] = starts->uuids[i];
        starts->n = n;
        return 0;
}
