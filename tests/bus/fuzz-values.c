/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What to call with: values of every type that are likely to be wrong, and now and then right. */

#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_STRING ((size_t)50 * 1024)

/* ---- numbers ---- */

static uint64_t next(Fuzz *z) { /* splitmix64 */
        uint64_t x = z->random += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        return x ^ x >> 31;
}

void fuzz_seed(Fuzz *z, uint64_t seed, uint64_t round) {
        z->random = seed;
        z->random = next(z) ^ round;
}

size_t fuzz_below(Fuzz *z, size_t n) {
        return n > 0 ? next(z) % n : 0;
}

bool fuzz_one_in(Fuzz *z, size_t n) {
        return fuzz_below(z, n) == 0;
}

static uint64_t pick_number(Fuzz *z) {
        static const uint64_t edges[] = {
                0,          1,
                2,          0x7f,
                0xff,       0x100,
                999,        1000,
                1001,       4095,
                4096,       4097,
                0x7fff,     0xffff,
                0x10000,    1000000,
                0x7fffffff, 0x80000000,
                0xffffffff, 0x100000000,
                0xfee00000, 0xfd00000000,
                INT64_MAX,  UINT64_C(1) << 63,
                UINT64_MAX, UINT64_MAX - 4095,
        };

        switch (fuzz_below(z, 4)) {
        case 0:
                return next(z);
        case 1:
                return next(z) >> fuzz_below(z, 64);
        case 2:
                return fuzz_below(z, 64) << 12;
        default:
                return edges[fuzz_below(z, ELEMENTSOF(edges))];
        }
}

/* ---- descriptors ---- */

static int add_fd(Fuzz *z, int fd) {
        assert_true(fd >= 0 && z->n_fds < FUZZ_FDS_MAX);
        z->fds[z->n_fds++] = fd;
        return fd;
}

/* @bytes: not only whole pages */
static int memfd(uint64_t bytes, int seals) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
        return fd;
}

void fuzz_open_fds(Fuzz *z) {
        int pair[2];
        pid_t dead;

        (void)add_fd(z, open("/dev/null", O_RDWR | O_CLOEXEC));
        (void)add_fd(z, open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        (void)add_fd(z, open("/etc/passwd", O_PATH | O_CLOEXEC));
        (void)add_fd(z, open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        (void)add_fd(z, pair[0]);
        (void)close(pair[1]);
        assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
        (void)add_fd(z, pair[1]);
        (void)close(pair[0]);
        (void)add_fd(z, eventfd(0, EFD_CLOEXEC));
        (void)add_fd(z, epoll_create1(EPOLL_CLOEXEC));
        (void)add_fd(z, memfd(4711, 0));
        (void)add_fd(z, memfd(0, 0));
        z->memory_fd = add_fd(z, memfd(UINT64_C(4) << 20, 0));
        (void)add_fd(z, memfd(UINT64_C(64) << 10, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
        z->pidfd = add_fd(z, fixture_pidfd(getpid()));
        dead = fork();
        assert_true(dead >= 0);
        if (dead == 0)
                _exit(0);
        (void)add_fd(z, fixture_pidfd(dead));
        (void)waitpid(dead, NULL, 0);
}

/* ---- strings ---- */

static const char *const strings[] = {
        "",
        " ",
        "\n",
        "\t\033[2J",
        "%s%n%s%n",
        "../../../../etc/passwd",
        "/",
        "//",
        "/org/aviommu1/vm/../..",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFE",
        "5ca1ab1e000040008000000000000001",
        "5ca1ab1e-0000-4000-8000-00000000000",
        "{5ca1ab1e-0000-4000-8000-000000000001}",
        "5ca1ab1e-0000-4000-8000-000000000001\n",
        "5ca1ab1e-0000-4000-8000-00000000000\u0661",
        "0000:00:00.0",
        "ffff:ff:1f.7",
        "0000:41:00.8",
        "0000:41:20.0",
        "10000:41:00.0",
        "41:00.0",
        "0000:41:00.0 ",
        "-1:00:00.0",
        "0x00:41:00.0",
        "ivhd",
        "ivhd-1",
        "ivhd0",
        "ivhd4294967296",
        "ivhd00",
        "dmar0",
        "true",
        "0",
        "-1",
        "18446744073709551616",
        "\u00e4\u20ac\U0001f980",
        "\u202egnp.exe",
        "\xc2\x85\xc2\x9b",
        "json",
        "libvirt-xml",
        "hardware",
        "emulated",
        "virtio",
        "daemon",
        "vmm",
        "none",
        "pidfd",
        "caller",
        "managed",
        "/org/aviommu1/vm/",
        "'; DROP TABLE vms; --",
};

/* Strings that some key or argument takes, so that not every call ends at the first one. */
static const struct {
        const char *name, *values[4];
} hints[] = {
        { "tier", { "hardware", "hardware", "virtio", "emulated" } },
        { "handover", { "daemon", "vmm", "none", "daemon" } },
        { "leash", { "pidfd", "caller", "pidfd", "caller" } },
        { "cursor", { "", "", "0000:41:00.0", "5ca1ab1e-0000-4000-8000-000000000001" } },
        { "format", { "json", "json", "json", "JSON" } },
        { "guest-device-id", { "02:00.0", "01:00.0", "ff:1f.7", "03:00.1" } },
        { "host_iommu", { "ivhd0", "ivhd1", "ivhd2", "ivhd99" } },
        { "function", { "0000:01:00.0", "0000:41:00.0", "0001:01:00.0", "0000:03:00.0" } },
        { "uuid",
          { "5ca1ab1e-0000-4000-8000-000000000011", "5ca1ab1e-0000-4000-8000-000000000012",
            "5ca1ab1e-0000-4000-8000-000000000013", "5ca1ab1e-0000-4000-8000-000000000001" } },
};

/* The same for numbers. */
static const struct {
        const char *name;
        uint64_t values[4];
} number_hints[] = {
        { "offset", { 0, 0, 4096, 8192 } },
        { "length", { 4096, 8192, 65536, UINT64_C(1) << 20 } },
        { "iova", { 0, UINT64_C(1) << 20, UINT64_C(1) << 32, UINT64_C(2) << 20 } },
        { "flags", { 0, 1, 0, 1 } },
        { "limit", { 1, 10, 1000, 2 } },
        { "ttl_usec", { 1000, 100000, 1000000, 60000000 } },
        { "memory", { 4096, UINT64_C(1) << 20, UINT64_C(1) << 30, 0 } },
        { "guest-domains", { 1, 64, 16, 4 } },
};

static const char *hint(Fuzz *z, const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(hints); i++)
                if (streq(hints[i].name, name))
                        return hints[i].values[fuzz_below(z, ELEMENTSOF(hints[i].values))];
        return NULL;
}

/* Valid UTF-8 of about @n bytes; where it is cut off after some bytes, a character may be cut. */
static void fill(Fuzz *z, char *s, size_t n) {
        static const char *const characters[] = { "A", "\u00e4", "\u20ac", "\U0001f980" };
        const char *c = characters[fuzz_below(z, ELEMENTSOF(characters))];
        size_t i = fuzz_below(z, 4);

        memset(s, 'x', i);
        for (; i + strlen(c) <= n; i += strlen(c))
                memcpy(s + i, c, strlen(c));
        s[i] = '\0';
}

static void put_string(Fuzz *z, sd_bus_message *m, const char *name) {
        static char buffer[LONG_STRING + 8];
        const char *s = buffer;
        size_t kind = fuzz_below(z, 16);

        if (kind < 6 && hint(z, name))
                s = hint(z, name);
        else if (kind < 10 && z->n_words > 0)
                s = z->words[fuzz_below(z, z->n_words)];
        else if (kind < 14)
                s = strings[fuzz_below(z, ELEMENTSOF(strings))];
        else
                fill(z, buffer,
                     fuzz_one_in(z, 8) && z->bytes_left > LONG_STRING ? LONG_STRING
                                                                      : fuzz_below(z, 300));
        z->bytes_left -= MIN(z->bytes_left, strlen(s));
        assert_true(sd_bus_message_append_basic(m, 's', s) >= 0);
}

/* ---- types ---- */

size_t fuzz_type_length(const char *s) {
        size_t n = 1;

        switch (*s) {
        case 'a':
                n = fuzz_type_length(s + 1);
                return n > 0 ? n + 1 : 0;
        case '(':
        case '{':
                while (s[n] && s[n] != ')' && s[n] != '}') {
                        size_t item = fuzz_type_length(s + n);

                        if (item == 0)
                                return 0;
                        n += item;
                }
                return s[n] ? n + 1 : 0;
        default:
                return *s && strchr("ybnqiuxtdsoghv", *s) ? 1 : 0;
        }
}

/* With "h" only while the message may carry more. */
static const char *pick_type(Fuzz *z) {
        static const char *const types[] = {
                "s",     "u",     "t",     "b",      "y",         "n",        "q",  "i",
                "x",     "d",     "o",     "g",      "v",         "as",       "ay", "at",
                "a{sv}", "(ss)",  "a(ss)", "a{us}",  "a(sa{sv})", "(u(sv))",  "av", "aay",
                "aas",   "a{ss}", "(t)",   "((s)u)", "a(sstt)",   "a{s(uv)}", "h",  "ah",
        };
        const char *type = types[fuzz_below(z, ELEMENTSOF(types))];

        return z->fds_left == 0 && strchr(type, 'h') ? "s" : type;
}

/* ---- values ---- */

static void put_value(Fuzz *z, sd_bus_message *m, const char *type, const char *name,
                      unsigned depth);

static void put_all(Fuzz *z, sd_bus_message *m, const char *types, unsigned depth) {
        for (size_t n; (n = fuzz_type_length(types)) > 0; types += n) {
                char type[64];

                (void)snprintf(type, sizeof(type), "%.*s", (int)n, types);
                put_value(z, m, type, "", depth);
        }
}

static void put_variant(Fuzz *z, sd_bus_message *m, const char *type, const char *name,
                        unsigned depth) {
        if (depth >= z->depth_max)
                type = "u";
        assert_true(sd_bus_message_open_container(m, 'v', type) >= 0);
        put_value(z, m, type, name, depth + 1);
        assert_true(sd_bus_message_close_container(m) >= 0);
}

/* An entry whose key is known, mostly with the type that it wants. */
static void put_known_entry(Fuzz *z, sd_bus_message *m, unsigned depth) {
        const FuzzKey *key = z->keys + fuzz_below(z, z->n_keys);
        bool right = !fuzz_one_in(z, 4) && !(z->fds_left == 0 && strchr(key->type, 'h'));

        assert_true(sd_bus_message_append_basic(m, 's', key->name) >= 0);
        put_variant(z, m, right ? key->type : pick_type(z), key->name, depth);
}

/* What nearly every request has. */
static void put_tier(sd_bus_message *m, const char *tier) {
        assert_true(sd_bus_message_append(m, "{sv}", "tier", "s", tier) >= 0);
}

static size_t pick_count(Fuzz *z, unsigned depth) {
        size_t kind = fuzz_below(z, 32);

        if (z->bytes_left < 4096 || depth >= z->depth_max)
                return 0;
        return kind < 8 ? 0 : kind < 30 || depth > 4 ? kind % 5 : kind == 30 ? 100 : 2000;
}

static void put_array(Fuzz *z, sd_bus_message *m, const char *contents, const char *name,
                      unsigned depth) {
        size_t n = pick_count(z, depth);

        assert_true(sd_bus_message_open_container(m, 'a', contents) >= 0);
        if (streq(contents, "{sv}") && depth == 0 && fuzz_one_in(z, 2))
                put_tier(m, hint(z, "tier"));
        for (; n > 0; n--) {
                if (z->bytes_left < 256 || (z->fds_left == 0 && strchr(contents, 'h')))
                        break;
                if (streq(contents, "{sv}") && z->n_keys > 0 && !fuzz_one_in(z, 6)) {
                        assert_true(sd_bus_message_open_container(m, 'e', "sv") >= 0);
                        put_known_entry(z, m, depth + 1);
                        assert_true(sd_bus_message_close_container(m) >= 0);
                } else
                        put_value(z, m, contents, name, depth + 1);
        }
        assert_true(sd_bus_message_close_container(m) >= 0);
}

/* Numbers are where they are in a register of little endian, as the machines that the project is for have it. */
static void put_basic(Fuzz *z, sd_bus_message *m, char type, const char *name) {
        static const char *const paths[] = { "/", "/org/aviommu1", "/org/aviommu1/vm/x" };
        static const char *const signatures[] = { "", "s", "a{sv}", "aaaaaa(sv)" };
        uint64_t number = pick_number(z);
        const void *value = &number;
        size_t chosen = fuzz_below(z, 8); /* 0 to 3: what a hint offers */

        for (size_t i = 0; i < ELEMENTSOF(number_hints) && chosen < 4; i++)
                if (streq(number_hints[i].name, name))
                        number = number_hints[i].values[chosen];

        if (type == 'o')
                value = paths[fuzz_below(z, ELEMENTSOF(paths))];
        else if (type == 'g')
                value = signatures[fuzz_below(z, ELEMENTSOF(signatures))];
        else if (type == 'b')
                number &= 1;
        else if (type == 'h') {
                number = (uint64_t)(chosen >= 4           ? z->fds[fuzz_below(z, z->n_fds)]
                                    : streq(name, "file") ? z->memory_fd
                                                          : z->pidfd);
                z->fds_left -= MIN(z->fds_left, 1U);
        }
        assert_true(sd_bus_message_append_basic(m, type, value) >= 0);
}

static void put_value(Fuzz *z, sd_bus_message *m, const char *type, const char *name,
                      unsigned depth) {
        char contents[64] = "";
        size_t n = strlen(type);

        z->bytes_left -= MIN(z->bytes_left, (size_t)8);
        if (*type == '(' || *type == '{')
                (void)snprintf(contents, sizeof(contents), "%.*s", (int)(n - 2), type + 1);

        switch (*type) {
        case 's':
                put_string(z, m, name);
                break;
        case 'a':
                put_array(z, m, type + 1, name, depth);
                break;
        case '(':
        case '{':
                assert_true(sd_bus_message_open_container(m, *type == '(' ? 'r' : 'e', contents) >=
                            0);
                if (streq(contents, "sa{sv}")) { /* a function with options */
                        put_string(z, m, "function");
                        put_all(z, m, contents + 1, depth + 1);
                } else
                        put_all(z, m, contents, depth + 1);
                assert_true(sd_bus_message_close_container(m) >= 0);
                break;
        case 'v': /* now and then a tower of them */
                put_variant(z, m, z->depth_max > 5 && !fuzz_one_in(z, 12) ? "v" : pick_type(z), "",
                            depth);
                break;
        default:
                put_basic(z, m, *type, name);
        }
}

sd_bus_message *fuzz_message(Fuzz *z, sd_bus *bus, const FuzzMethod *method) {
        bool right = !fuzz_one_in(z, 12);
        const char *path = method->path;
        sd_bus_message *m;

        if (fuzz_one_in(z, 30))
                path = fuzz_one_in(z, 2) ? vm_path(uuid_of((unsigned)fuzz_below(z, 64)))
                                         : viommu_path(uuid_of(1), (unsigned)fuzz_below(z, 9));
        z->bytes_left = fuzz_one_in(z, 40) ? (size_t)1 << 20 : (size_t)150 * 1024;
        z->depth_max = fuzz_one_in(z, 10) ? 28 : 5;
        z->fds_left = 12;
        m = message_new(bus, path, method->interface, method->member, "");
        for (size_t i = 0; i < method->n_arguments; i++)
                put_value(z, m, right ? method->arguments[i].type : pick_type(z),
                          method->arguments[i].name, 0);
        if (!right && fuzz_one_in(z, 2))
                put_value(z, m, pick_type(z), "", 0);
        if (fuzz_one_in(z, 8))
                assert_true(sd_bus_message_set_allow_interactive_authorization(m, true) >= 0);
        return m;
}
