/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The directory of records, with real failures: a file system that is full or read-only, and all
 * that can lie where a record should. Mounts are made in a child with a mount namespace of its own,
 * and go with it. */

#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "oom.h"
#include "state/store.h"

#define A      SD_ID128_MAKE(00, 11, 22, 33, 44, 55, 66, 77, 88, 99, aa, bb, cc, dd, ee, ff)
#define B      SD_ID128_MAKE(ff, 11, 22, 33, 44, 55, 66, 77, 88, 99, aa, bb, cc, dd, ee, 00)
#define A_NAME "00112233445566778899aabbccddeeff"
#define B_NAME "ff112233445566778899aabbccddee00"

static char directory[64], elsewhere[80];

static int set_up(void **state) {
        (void)state;
        (void)strcpy(directory, "/tmp/aviommu-store-XXXXXX");
        if (!mkdtemp(directory))
                return -1;
        (void)snprintf(elsewhere, sizeof(elsewhere), "%s-elsewhere", directory);
        return 0;
}

static int tear_down(void **state) {
        char command[256];

        (void)state;
        (void)snprintf(command, sizeof(command), "rm -rf %s %s", directory, elsewhere);
        return system(command);
}

static const char *path_of(const char *name) {
        static char path[256];

        (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
        return path;
}

static bool is_there(const char *name) {
        struct stat st;

        return lstat(path_of(name), &st) >= 0;
}

static void write_text(const char *name, const char *text) {
        _cleanup_close_ int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                                      0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static StateStore *open_lasting(void) {
        StateStore *store = NULL;

        assert_ok(state_store_open_lasting(directory, &store));
        return store;
}

static StateStore *open_store(void) {
        StateStore *store = NULL;

        assert_ok(state_store_open(directory, &store));
        assert_string_equal(state_store_get_path(store), directory);
        return store;
}

/* What a reading of the directory gives. */
typedef struct Seen {
        size_t n;
        StateEntry entries[16];
        char bodies[16][128];
        int error; /* to be returned */
} Seen;

static int see(void *userdata, const StateEntry *entry) {
        Seen *seen = userdata;

        assert_true(seen->n < ELEMENTSOF(seen->entries));
        seen->entries[seen->n] = *entry;
        if (entry->verdict == RECORD_GOOD)
                (void)snprintf(seen->bodies[seen->n], sizeof(seen->bodies[0]), "%.*s",
                               (int)entry->body_length, entry->body);
        seen->n++;
        return seen->error;
}

static void read_store(StateStore *store, Seen *seen) {
        *seen = (Seen){};
        assert_ok(state_store_read(store, see, seen));
}

/* The body of the only record there is. */
static void assert_only(StateStore *store, RecordKind kind, sd_id128_t id, const char *body) {
        Seen seen;

        read_store(store, &seen);
        assert_int_equal(seen.n, 1);
        assert_int_equal(seen.entries[0].verdict, RECORD_GOOD);
        assert_int_equal(seen.entries[0].kind, kind);
        assert_true(sd_id128_equal(seen.entries[0].id, id));
        assert_string_equal(seen.bodies[0], body);
}

/* The verdict on the only record there is. */
static void assert_only_verdict(StateStore *store, RecordVerdict verdict) {
        Seen seen;

        read_store(store, &seen);
        assert_int_equal(seen.n, 1);
        assert_int_equal(seen.entries[0].verdict, verdict);
}

/* ---- opening ---- */

static void opening(void **state) {
        StateStore *store = NULL;

        (void)state;
        assert_error(state_store_open("/nowhere/at/all", &store), ENOENT);
        write_text("file", "");
        assert_error(state_store_open(path_of("file"), &store), ENOTDIR);
        assert_ok(chmod(directory, 0750));
        assert_error(state_store_open(directory, &store), EPERM);
        assert_ok(chmod(directory, 0701));
        assert_error(state_store_open(directory, &store), EPERM);
        assert_ok(chmod(directory, 0700));
        assert_null(store);
        assert_null(state_store_free(NULL));
        if (geteuid() == 0) {
                assert_ok(chown(directory, 65534, 0));
                assert_error(state_store_open(directory, &store), EPERM);
                assert_ok(chown(directory, 0, 0));
        }
        assert_null(state_store_free(open_store()));
}

/* Two daemons would each take the other's VMs for their own. */
static void one_at_a_time(void **state) {
        StateStore *store = open_store(), *other = NULL;

        (void)state;
        assert_error(state_store_open(directory, &other), EBUSY);
        assert_error(state_store_open_lasting(directory, &other), EBUSY);
        assert_null(other);
        state_store_free(store);
        state_store_free(open_lasting());
}

static void kinds(void **state) {
        (void)state;
        assert_string_equal(record_kind_to_string(RECORD_VM), "vm");
        assert_string_equal(record_kind_to_string(RECORD_PREPARED), "prepared");
        assert_string_equal(record_kind_to_string(RECORD_RESERVATION), "reservation");
        assert_string_equal(record_kind_to_string(RECORD_LEVEL), "level");
        assert_string_equal(record_kind_to_string(RECORD_BUS), "bus");
        assert_string_equal(record_kind_to_string(RECORD_STARTED), "started");
        assert_string_equal(record_kind_to_string(RECORD_DEFINITION), "definition");
}

/* ---- writing and reading ---- */

static void records_come_back(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();
        struct stat st;
        Seen seen;

        (void)state;
        read_store(store, &seen);
        assert_int_equal(seen.n, 0);

        assert_ok(state_store_write(store, RECORD_VM, A, "{\"a\":1}"));
        assert_only(store, RECORD_VM, A, "{\"a\":1}");
        assert_true(is_there("vm-" A_NAME));
        assert_ok(stat(path_of("vm-" A_NAME), &st));
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_ok(state_store_write(store, RECORD_VM, A, "{\"a\":12}"));
        assert_only(store, RECORD_VM, A, "{\"a\":12}");

        assert_ok(state_store_write(store, RECORD_PREPARED, A, "{}"));
        assert_ok(state_store_write(store, RECORD_RESERVATION, B, "{}"));
        assert_true(is_there("prepared-" A_NAME) && is_there("reservation-" B_NAME));
        read_store(store, &seen);
        assert_int_equal(seen.n, 3);
        assert_int_equal(seen.entries[0].kind + seen.entries[1].kind + seen.entries[2].kind, 3);

        assert_ok(state_store_remove(store, RECORD_VM, A));
        assert_ok(state_store_remove(store, RECORD_VM, A)); /* it is not there */
        assert_ok(state_store_remove(store, RECORD_PREPARED, A));
        assert_only(store, RECORD_RESERVATION, B, "{}");
        assert_false(is_there("vm-" A_NAME));

        /* Another daemon finds them too. */
        state_store_free(TAKE_PTR(store));
        store = open_store();
        assert_only(store, RECORD_RESERVATION, B, "{}");
}

/* What has been synchronized, "fd" letters: a file, a directory; and which of them fails. */
static char synchronized[16];
static size_t n_synchronized, failing_sync;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd) {
        struct stat st;

        if (++n_synchronized == failing_sync) {
                errno = EIO;
                return -1;
        }
        assert_ok(fstat(fd, &st));
        assert_true(n_synchronized < sizeof(synchronized));
        synchronized[n_synchronized - 1] = S_ISDIR(st.st_mode) ? 'd' : 'f';
        return __real_fsync(fd);
}

static void sync_reset(size_t failing) {
        memset(synchronized, 0, sizeof(synchronized));
        n_synchronized = 0;
        failing_sync = failing;
}

/* First the file, then its name; where that fails it is said, and the old one stays if the file was not good. */
static void lasting_records_are_on_the_disk(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_lasting(), *of_boot = NULL;

        (void)state;
        sync_reset(0);
        assert_ok(state_store_write(store, RECORD_DEFINITION, A, "{}"));
        assert_string_equal(synchronized, "fd");
        assert_ok(state_store_remove(store, RECORD_DEFINITION, A));
        assert_string_equal(synchronized, "fdd");
        state_store_free(TAKE_PTR(store));
        of_boot = open_store();
        assert_ok(state_store_write(of_boot, RECORD_VM, A, "{}"));
        assert_ok(state_store_remove(of_boot, RECORD_VM, A));
        assert_string_equal(synchronized, "fdd");
        state_store_free(TAKE_PTR(of_boot));

        store = open_lasting();
        assert_ok(state_store_write(store, RECORD_DEFINITION, A, "{}"));
        sync_reset(1);
        assert_error(state_store_write(store, RECORD_DEFINITION, A, "{\"a\":1}"), EIO);
        assert_only(store, RECORD_DEFINITION, A, "{}");
        assert_false(is_there(".definition-" A_NAME));
        sync_reset(2);
        assert_error(state_store_write(store, RECORD_DEFINITION, A, "{\"a\":1}"), EIO);
        sync_reset(1);
        assert_error(state_store_remove(store, RECORD_DEFINITION, A), EIO);
        sync_reset(0);
        assert_ok(state_store_remove(store, RECORD_DEFINITION, A));
        assert_false(is_there("definition-" A_NAME));
}

/* What outlives the boot is of no boot; otherwise it is kept like the rest. */
static void lasting_records(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_lasting(), *of_boot = NULL;
        Seen seen;

        (void)state;
        assert_ok(state_store_write(store, RECORD_DEFINITION, A, "{\"a\":1}"));
        assert_ok(state_store_write(store, RECORD_DEFINITION, A, "{\"a\":12}"));
        assert_ok(state_store_write(store, RECORD_DEFINITION, B, "{}"));
        assert_true(is_there("definition-" A_NAME) && !is_there(".definition-" A_NAME));
        assert_ok(state_store_remove(store, RECORD_DEFINITION, B));
        assert_ok(state_store_remove(store, RECORD_DEFINITION, B));
        state_store_free(TAKE_PTR(store));
        store = open_lasting();
        assert_only(store, RECORD_DEFINITION, A, "{\"a\":12}");
        state_store_free(TAKE_PTR(store));
        of_boot = open_store();
        assert_only_verdict(of_boot, RECORD_OTHER_BOOT);

        /* And the other way round. */
        assert_ok(state_store_write(of_boot, RECORD_DEFINITION, A, "{}"));
        state_store_free(TAKE_PTR(of_boot));
        store = open_lasting();
        read_store(store, &seen);
        assert_int_equal(seen.n, 1);
        assert_int_equal(seen.entries[0].verdict, RECORD_OTHER_BOOT);
}

static void the_callback_ends_it(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();
        Seen seen = { .error = -ECANCELED };

        (void)state;
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_ok(state_store_write(store, RECORD_VM, B, "{}"));
        assert_error(state_store_read(store, see, &seen), ECANCELED);
        assert_int_equal(seen.n, 1);
}

/* What the callback does to the directory disturbs nothing. */
typedef struct Meddler {
        StateStore *store;
        size_t n;
} Meddler;

static int meddle(void *userdata, const StateEntry *entry) {
        Meddler *m = userdata;

        m->n++;
        assert_ok(state_store_write(m->store, entry->kind, entry->id, "{\"again\":1}"));
        assert_ok(state_store_write(m->store, RECORD_PREPARED, entry->id, "{}"));
        if (m->n == 1)
                for (uint8_t i = 0; i < 20; i++)
                        if (entry->id.bytes[0] != i)
                                assert_ok(state_store_remove(m->store, RECORD_VM,
                                                             (sd_id128_t){ .bytes = { i } }));
        return 0;
}

static void the_callback_may_write(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();
        Meddler m = { .store = store };

        (void)state;
        for (uint8_t i = 0; i < 40; i++)
                assert_ok(
                        state_store_write(store, RECORD_VM, (sd_id128_t){ .bytes = { i } }, "{}"));
        assert_ok(state_store_read(store, meddle, &m));
        assert_in_range(m.n, 20, 21);
}

/* ---- what else can lie there ---- */

static void names_that_are_almost_right(void **state) {
        static const char *const names[] = {
                "vm-",
                "vm",
                "-" A_NAME,
                "vm-" A_NAME "0",
                "vm-" A_NAME ".",
                "vm_" A_NAME,
                "VM-" A_NAME,
                "vm-00112233445566778899aabbccddeef",
                "vm-00112233445566778899AABBCCDDEEFF",
                "vm-00112233-4455-6677-8899-aabbccddeeff",
                "vms-" A_NAME,
                "reservation-prepared-" A_NAME,
                "..vm-" A_NAME,
                ".vm-" A_NAME "~",
                ".hidden",
                "README",
        };
        _cleanup_(state_store_freep) StateStore *store = open_store();
        Seen seen;

        (void)state;
        for_each_case(name, names) write_text(*name, "{}");
        read_store(store, &seen);
        assert_int_equal(seen.n, 0);
        for_each_case(name, names) assert_true(is_there(*name));
}

static void left_over_files(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();

        (void)state;
        assert_ok(state_store_write(store, RECORD_VM, A, "{\"old\":1}"));
        write_text(".vm-" A_NAME, "half a rec");
        write_text(".reservation-" B_NAME, "");
        assert_only(store, RECORD_VM, A, "{\"old\":1}");
        assert_false(is_there(".vm-" A_NAME) || is_there(".reservation-" B_NAME));

        /* In the way of a writer. */
        write_text(".vm-" A_NAME,
                   "half a record, which is longer than the one that is written now, "
                   "and of which nothing may be left in it afterwards, not a byte");
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_only(store, RECORD_VM, A, "{}");
        write_text("victim", "untouched");
        assert_ok(symlink("victim", path_of(".vm-" A_NAME)));
        assert_ok(state_store_write(store, RECORD_VM, A, "{\"new\":1}"));
        assert_only(store, RECORD_VM, A, "{\"new\":1}");
        {
                struct stat st;

                assert_ok(stat(path_of("victim"), &st));
                assert_int_equal(st.st_size, strlen("untouched"));
        }

        /* A directory cannot be removed like this: it is an error, and the old one stays. */
        assert_ok(mkdir(path_of(".vm-" A_NAME), 0700));
        assert_true(state_store_write(store, RECORD_VM, A, "{}") < 0);
        assert_only(store, RECORD_VM, A, "{\"new\":1}");
}

static void not_a_file(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();

        (void)state;
        assert_ok(mkdir(path_of("vm-" A_NAME), 0700));
        assert_only_verdict(store, RECORD_DAMAGED);
        assert_true(state_store_write(store, RECORD_VM, A, "{}") < 0);
        assert_false(is_there(".vm-" A_NAME));
        assert_true(state_store_remove(store, RECORD_VM, A) < 0);
        assert_only_verdict(store, RECORD_DAMAGED);
        assert_ok(rmdir(path_of("vm-" A_NAME)));

        /* A link is not followed, were it to a good record. */
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_ok(rename(path_of("vm-" A_NAME), elsewhere));
        assert_ok(symlink(elsewhere, path_of("vm-" A_NAME)));
        assert_only_verdict(store, RECORD_DAMAGED);
        /* Writing puts a record in its place and leaves the other one alone. */
        assert_ok(state_store_write(store, RECORD_VM, A, "{\"new\":1}"));
        assert_only(store, RECORD_VM, A, "{\"new\":1}");
        assert_ok(unlink(path_of("vm-" A_NAME)));

        /* Nobody writes into this one: reading does not wait. */
        assert_ok(mkfifo(path_of("vm-" A_NAME), 0600));
        assert_only_verdict(store, RECORD_DAMAGED);
}

static void damaged_files(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();

        (void)state;
        write_text("vm-" A_NAME, "");
        assert_only_verdict(store, RECORD_DAMAGED);
        write_text("vm-" A_NAME, "aviommu-record 1 nonsense\n");
        assert_only_verdict(store, RECORD_DAMAGED);
        write_text("vm-" A_NAME, "aviommu-record 4 nonsense\n");
        assert_only_verdict(store, RECORD_NEWER);
        write_text("vm-" A_NAME,
                   "aviommu-record 1 00000000000000000000000000000000 3 76f4b23c88fe363d\n{}\n");
        assert_only_verdict(store, RECORD_OTHER_BOOT);

        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_ok(truncate(path_of("vm-" A_NAME), 40));
        assert_only_verdict(store, RECORD_DAMAGED);
        assert_ok(truncate(path_of("vm-" A_NAME), RECORD_SIZE_MAX));
        assert_only_verdict(store, RECORD_DAMAGED);
        assert_ok(truncate(path_of("vm-" A_NAME), RECORD_SIZE_MAX + 1));
        assert_only_verdict(store, RECORD_DAMAGED);
}

static void too_large(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();
        _cleanup_free_ char *body = malloc(RECORD_SIZE_MAX + 1);

        (void)state;
        memset(body, 'x', RECORD_SIZE_MAX);
        body[RECORD_SIZE_MAX] = '\0';
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_error(state_store_write(store, RECORD_VM, A, body), EFBIG);
        assert_only(store, RECORD_VM, A, "{}");
        body[RECORD_SIZE_MAX - 200] = '\0';
        assert_ok(state_store_write(store, RECORD_VM, A, body));
        assert_only_verdict(store, RECORD_GOOD);
}

static void setting_aside(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();

        (void)state;
        assert_error(state_store_set_aside(store, RECORD_VM, A), ENOENT);
        write_text("vm-" A_NAME, "one");
        assert_ok(state_store_set_aside(store, RECORD_VM, A));
        assert_false(is_there("vm-" A_NAME));
        assert_true(is_there("damaged/vm-" A_NAME));
        /* In place of the one before, whatever that is. */
        write_text("vm-" A_NAME, "another");
        assert_ok(state_store_set_aside(store, RECORD_VM, A));
        assert_ok(mkdir(path_of("vm-" A_NAME), 0700));
        assert_ok(state_store_set_aside(store, RECORD_VM, A));
        write_text("vm-" A_NAME, "a third");
        assert_ok(state_store_set_aside(store, RECORD_VM, A));
        assert_false(is_there("vm-" A_NAME));
        {
                Seen seen;

                read_store(store, &seen); /* nothing in there counts */
                assert_int_equal(seen.n, 0);
        }

        /* Not into a directory with something in it, and not through a link. */
        assert_ok(unlink(path_of("damaged/vm-" A_NAME)));
        assert_ok(mkdir(path_of("damaged/vm-" A_NAME), 0700));
        write_text("damaged/vm-" A_NAME "/something", "");
        write_text("vm-" A_NAME, "a fourth");
        assert_true(state_store_set_aside(store, RECORD_VM, A) < 0);
        assert_true(is_there("vm-" A_NAME));
        assert_int_equal(unlink(path_of("damaged/vm-" A_NAME "/something")), 0);
        assert_ok(rmdir(path_of("damaged/vm-" A_NAME)));
        assert_ok(rename(path_of("damaged"), elsewhere));
        assert_ok(symlink(elsewhere, path_of("damaged")));
        assert_true(state_store_set_aside(store, RECORD_VM, A) < 0);
        assert_true(is_there("vm-" A_NAME));
}

/* ---- the file system ---- */

/* Runs @body in a child that has a tmpfs of @options on the directory. False: mounting is not
 * possible here. */
static bool on_a_tmpfs(const char *options, void (*body)(StateStore *store)) {
        int status;
        pid_t pid;

        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                StateStore *store;

                if (unshare(CLONE_NEWNS) < 0 ||
                    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
                    mount("none", directory, "tmpfs", 0, options) < 0)
                        _exit(77);
                store = open_store();
                body(store);
                state_store_free(store);
                exit(0); /* with what the instrumented code has counted */
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) != 77)
                assert_int_equal(WEXITSTATUS(status), 0);
        return WEXITSTATUS(status) == 0;
}

#define CHECK(condition)                                                                           \
        do {                                                                                       \
                if (!(condition)) {                                                                \
                        print_error("%s:%i: %s\n", __FILE__, __LINE__, #condition);                \
                        _exit(1);                                                                  \
                }                                                                                  \
        } while (0)

static char long_body[3 * 4096];

static void when_full(StateStore *store) {
        Seen seen = {};
        int r = 0;

        /* Of four pages, the directory's included or not: some time there is no room. */
        memset(long_body, 'x', sizeof(long_body) - 1);
        CHECK(state_store_write(store, RECORD_VM, A, "{}") == 0);
        CHECK(state_store_write(store, RECORD_VM, A, long_body) == -ENOSPC);
        CHECK(!is_there(".vm-" A_NAME));
        CHECK(state_store_read(store, see, &seen) == 0 && seen.n == 1);
        CHECK(streq(seen.bodies[0], "{}"));

        /* No room for a new file at all. */
        for (uint8_t i = 0; i < 20 && r == 0; i++)
                r = state_store_write(store, RECORD_PREPARED, (sd_id128_t){ .bytes = { i } }, "{}");
        CHECK(r == -ENOSPC);
        seen = (Seen){};
        CHECK(state_store_read(store, see, &seen) == 0 && seen.n >= 1);
        for (size_t i = 0; i < seen.n; i++)
                CHECK(seen.entries[i].verdict == RECORD_GOOD);
        /* Giving back is always possible. */
        CHECK(state_store_remove(store, RECORD_VM, A) == 0);
        CHECK(state_store_write(store, RECORD_VM, A, "{\"now\":1}") == 0);
}

static void when_read_only(StateStore *store) {
        Seen seen = {};

        CHECK(state_store_write(store, RECORD_VM, A, "{}") == 0);
        write_text(".vm-" B_NAME, "left over");
        CHECK(mount("none", directory, "none", MS_REMOUNT | MS_RDONLY, NULL) == 0);
        CHECK(state_store_write(store, RECORD_VM, A, "{\"new\":1}") == -EROFS);
        CHECK(state_store_write(store, RECORD_VM, B, "{}") == -EROFS ||
              state_store_write(store, RECORD_VM, B, "{}") == -EEXIST);
        CHECK(state_store_remove(store, RECORD_VM, A) == -EROFS);
        CHECK(state_store_set_aside(store, RECORD_VM, A) == -EROFS);
        CHECK(state_store_read(store, see, &seen) == 0 && seen.n == 1);
        CHECK(streq(seen.bodies[0], "{}"));
}

/* Some other user, for whom the directory is not writable and another's files not readable. */
static void as_another(StateStore *store) {
        Seen seen = {};

        CHECK(state_store_write(store, RECORD_VM, A, "{}") == 0);
        CHECK(state_store_write(store, RECORD_VM, B, "{}") == 0);
        CHECK(chown(path_of("vm-" A_NAME), 65534, 65534) == 0);
        /* Another's record, though root could read it. */
        CHECK(state_store_read(store, see, &seen) == 0 && seen.n == 2);
        CHECK((seen.entries[0].verdict == RECORD_GOOD) + (seen.entries[1].verdict == RECORD_GOOD) ==
              1);
        /* Now root's records are another's. */
        CHECK(seteuid(65534) == 0);
        CHECK(state_store_write(store, RECORD_VM, A, "{}") == -EACCES);
        CHECK(state_store_remove(store, RECORD_VM, A) == -EACCES);
        CHECK(state_store_set_aside(store, RECORD_VM, A) == -EACCES);
        CHECK(state_store_read(store, see, &seen) == -EACCES);
        CHECK(seteuid(0) == 0);
        CHECK(state_store_set_aside(store, RECORD_VM, A) == 0);
}

static void full(void **state) {
        (void)state;
        if (!on_a_tmpfs("mode=0700,size=16k,nr_inodes=8", when_full))
                skip();
}

static void read_only(void **state) {
        (void)state;
        if (!on_a_tmpfs("mode=0700", when_read_only))
                skip();
}

static void other_users(void **state) {
        (void)state;
        if (!on_a_tmpfs("mode=0700", as_another))
                skip();
}

/* ---- want of memory and descriptors ---- */

static void memory_runs_out(void **state) {
        (void)state;
        OOM_SWEEP(nth, {
                _cleanup_(state_store_freep) StateStore *store = NULL;
                Seen seen = {};
                int r = state_store_open(directory, &store);

                if (r == 0)
                        r = state_store_write(store, RECORD_VM, A, "{}");
                if (r == 0)
                        r = state_store_write(store, RECORD_VM, B, "{}");
                if (r == 0)
                        r = state_store_read(store, see, &seen);
                assert_true(r == 0 || r == -ENOMEM);
                assert_int_equal(seen.n, r == 0 ? 2 : 0);
                assert_false(is_there(".vm-" A_NAME));
        });
}

/* Not having a descriptor left says nothing about a record. */
static void descriptors_run_out(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();
        struct rlimit before, limit;
        int fds[64];
        size_t n = 0;
        Seen seen = {};

        (void)state;
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_ok(getrlimit(RLIMIT_NOFILE, &before));
        limit = before;
        limit.rlim_cur = 64;
        assert_ok(setrlimit(RLIMIT_NOFILE, &limit));
        while (n < ELEMENTSOF(fds) && (fds[n] = dup(0)) >= 0)
                n++;
        assert_error(state_store_read(store, see, &seen), EMFILE);
        assert_error(state_store_write(store, RECORD_VM, A, "{\"new\":1}"), EMFILE);
        assert_error(state_store_set_aside(store, RECORD_VM, A), EMFILE);
        assert_int_equal(seen.n, 0);
        while (n > 0)
                fd_close(fds[--n]);
        assert_ok(setrlimit(RLIMIT_NOFILE, &before));
        assert_only(store, RECORD_VM, A, "{}");
}

/* Opens what it can, so that there is no descriptor for the next record. */
static int use_up(void *userdata, const StateEntry *entry) {
        size_t *n = userdata;

        (void)entry;
        while (dup(0) >= 0)
                (*n)++;
        return 0;
}

static void descriptors_run_out_on_the_way(void **state) {
        _cleanup_(state_store_freep) StateStore *store = open_store();
        struct rlimit before, limit;
        size_t n = 0;
        pid_t pid;
        int status;

        (void)state;
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_ok(state_store_write(store, RECORD_VM, B, "{}"));
        assert_ok(getrlimit(RLIMIT_NOFILE, &before));
        pid = fork();
        if (pid == 0) {
                limit = before;
                limit.rlim_cur = 64;
                CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                CHECK(state_store_read(store, use_up, &n) == -EMFILE && n > 0);
                CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
                state_store_free(TAKE_PTR(store));
                exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
}

/* One descriptor is kept, and no more. */
static void descriptors_are_closed(void **state) {
        unsigned before = count_fds();
        StateStore *store = open_store();
        Seen seen;

        (void)state;
        assert_ok(state_store_write(store, RECORD_VM, A, "{}"));
        assert_ok(mkdir(path_of("vm-" B_NAME), 0700));
        read_store(store, &seen);
        assert_int_equal(seen.n, 2);
        assert_true(state_store_write(store, RECORD_VM, B, "{}") < 0);
        assert_ok(state_store_set_aside(store, RECORD_VM, B));
        assert_int_equal(count_fds(), before + 1);
        state_store_free(store);
        assert_int_equal(count_fds(), before);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(opening),
                TEST(one_at_a_time),
                TEST(kinds),
                TEST(records_come_back),
                TEST(lasting_records),
                TEST(lasting_records_are_on_the_disk),
                TEST(the_callback_ends_it),
                TEST(the_callback_may_write),
                TEST(names_that_are_almost_right),
                TEST(left_over_files),
                TEST(not_a_file),
                TEST(damaged_files),
                TEST(too_large),
                TEST(setting_aside),
                TEST(full),
                TEST(read_only),
                TEST(other_users),
                TEST(memory_runs_out),
                TEST(descriptors_run_out),
                TEST(descriptors_run_out_on_the_way),
                TEST(descriptors_are_closed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
