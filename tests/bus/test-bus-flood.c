/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A user without rights who calls as much as he can: from tens of connections, without reading the answers, with messages of
 * any size, and gone before he is answered. Meanwhile whoever may is served, and afterwards all is as before. And how much one
 * call can cost: what waits for polkit, how long arguments and answers can be. Needs root, to be several users.
 */

#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"

#define NOBODY      65534
#define NIC         "0000:01:00.0"
#define FLOODERS    3  /* processes */
#define FLOOD_BUSES 12 /* connections of each */
#define FLOOD_BURST                                                                                \
        12 /* calls, and then a rest: it is the daemon that is tried here, not how much the bus carries */
#define FLOOD_REST_USEC  4000
#define FLOOD_USEC       UINT64_C(3000000)
#define ANSWER_USEC_MAX  UINT64_C(2000000)
#define SAMPLES_MAX      4096
#define ANSWER_BYTES_MAX ((size_t)1024 * 1024)
#define ASKING_PER_USER  16 /* as in daemon/policy/authz.c */
#define ASKING           112

/* What the daemon may keep of the memory that it took meanwhile: an allocator gives back what it can. AddressSanitizer's has
 * red zones and a quarantine, which CMakeLists.txt keeps small. */
#ifdef __SANITIZE_ADDRESS__
#define GROWTH_BYTES_MAX ((size_t)128 << 20)
#else
#define GROWTH_BYTES_MAX ((size_t)32 << 20)
#endif

/* ---- the flood ---- */

static sd_bus *flooder_connect(const Fixture *f) {
        sd_bus *bus = NULL;

        if (sd_bus_new(&bus) < 0 || sd_bus_set_address(bus, f->address) < 0 ||
            sd_bus_set_bus_client(bus, true) < 0 || sd_bus_start(bus) < 0)
                _exit(EXIT_FAILURE);
        return bus;
}

static sd_bus_message *flooder_call(sd_bus *bus, const char *path, const char *interface,
                                    const char *member, const char *types, ...) {
        sd_bus_message *m = NULL;
        va_list ap;

        if (sd_bus_message_new_method_call(bus, &m, "org.aviommu1", path, interface, member) < 0)
                return NULL;
        va_start(ap, types);
        (void)sd_bus_message_appendv(m, types, ap);
        va_end(ap);
        return m;
}

/* One of the calls of a flood. */
static sd_bus_message *flooder_pick(sd_bus *bus, unsigned n, const char *text, const char *vm) {
        static const char manager[] = "org.aviommu1.Manager", root[] = ROOT_PATH;
        static const char properties[] = "org.freedesktop.DBus.Properties";

        switch (n % 8) {
        case 0:
                return flooder_call(bus, root, manager, "ListVms", "su", "", UINT32_C(1000));
        case 1:
                return flooder_call(bus, root, manager, "ListFunctions", "su", "", UINT32_C(1000));
        case 2:
                return flooder_call(bus, root, manager, "CreateVm", "sa{sv}", uuid_of(n), 1, "tier",
                                    "s", "virtio");
        case 3:
                return flooder_call(bus, vm, "org.aviommu1.Vm", "Destroy", "a{sv}", 0);
        case 4:
                return flooder_call(bus, root, properties, "GetAll", "s", manager);
        case 5:
                return flooder_call(bus, root, manager, "Plan", "sa{sv}", uuid_of(n), 1, "name",
                                    "s", text);
        case 6:
                return flooder_call(bus, ROOT_PATH "/host", "org.freedesktop.DBus.ObjectManager",
                                    "GetManagedObjects", "");
        default:
                return flooder_call(bus, root, manager, "GetVmByName", "s", text + n % 1000);
        }
}

/* A process of nobody's that never ends. Every third connection reads what comes; none waits. */
static void __attribute__((noreturn)) flood(const Fixture *f, const char *vm) {
        const size_t text_length = (size_t)20 * 1024;
        sd_bus *buses[FLOOD_BUSES] = {};
        char *text = malloc(text_length + 1);

        if (!text || setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0)
                _exit(EXIT_FAILURE);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* which the change of user has undone */
        memset(text, 'x', text_length);
        text[text_length] = '\0';

        for (unsigned n = (unsigned)getpid();; n++) {
                sd_bus **bus = buses + n % FLOOD_BUSES;
                int r = 0;

                if (!*bus)
                        *bus = flooder_connect(f);
                for (unsigned i = 0; i < FLOOD_BURST && r >= 0; i++) {
                        sd_bus_message *m = flooder_pick(*bus, n * 31 + i, text, vm);

                        r = m ? sd_bus_send(*bus, m, NULL) : -ENOMEM;
                        sd_bus_message_unref(m);
                }
                while (r >= 0 && n % FLOOD_BUSES % 3 == 0 && (r = sd_bus_process(*bus, NULL)) > 0)
                        ;
                (void)usleep(FLOOD_REST_USEC);
                if (r < 0 || n % 97 == 0) { /* thrown out, full, or in the middle of a call */
                        sd_bus_close(*bus);
                        *bus = sd_bus_unref(*bus);
                }
        }
}

static int compare_usec(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

/* Works as whoever may does, and takes the time of each answer. */
static size_t work(Fixture *f, uint64_t samples[static SAMPLES_MAX]) {
        uint64_t end = now_usec() + FLOOD_USEC;
        size_t n = 0;

        while (now_usec() < end && n + 3 <= SAMPLES_MAX) {
                uint64_t start = now_usec();

                CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC);
                samples[n] = now_usec() - start;
                start += samples[n++];
                run_ok(f, NULL, "Manager", "GetVm", "s", uuid_of(2));
                samples[n] = now_usec() - start;
                start += samples[n++];
                vm_destroy_ok(f, uuid_of(2));
                samples[n++] = now_usec() - start;
        }
        return n;
}

static void test_flood(void **state) {
        static uint64_t samples[SAMPLES_MAX];
        Fixture *f = *state;
        _cleanup_free_ char *before = NULL;
        pid_t flooders[FLOODERS];
        size_t n, n_fds, memory, grown;
        int status;

        fixture_polkit(f, false);
        CREATE(f, uuid_of(1), .name = "kept", .tier = "virtio", .handover = "none");
        CREATE(f, uuid_of(2), .tier = "hardware", .functions = NIC); /* finds out the level */
        vm_destroy_ok(f, uuid_of(2));
        before = world(f);
        n_fds = fixture_count_daemon_fds(f, false);
        memory = fixture_daemon_memory(f);

        for (size_t i = 0; i < FLOODERS; i++) {
                flooders[i] = fixture_fork(f);
                if (flooders[i] == 0)
                        flood(f, vm_path(uuid_of(1)));
        }
        fixture_serve_for(f, 300000);
        n = work(f, samples);
        for (size_t i = 0; i < FLOODERS; i++) { /* they have been there all the time */
                assert_int_equal(waitpid(flooders[i], &status, WNOHANG), 0);
                fixture_kill(f, flooders[i]);
        }

        run_ok(f, NULL, "org.freedesktop.DBus.Peer", "Ping", "");
        assert_world(f, before);
        wait_until(f, fixture_count_daemon_fds(f, false) <= n_fds);
        grown = fixture_daemon_memory(f);
        grown -= MIN(grown, memory);
        qsort(samples, n, sizeof(*samples), compare_usec);
        print_message("%zu answers during the flood, median %" PRIu64 " us, longest %" PRIu64
                      " us; polkit was asked %zu times; the daemon grew by %zu KiB\n",
                      n, samples[n / 2], samples[n - 1], f->n_asked, grown / 1024);
        assert_true(n >= 3);
        assert_true(f->n_asked > 100); /* it was one */
        assert_true(samples[n - 1] < ANSWER_USEC_MAX);
        assert_true(grown < GROWTH_BYTES_MAX);
        vm_destroy_ok(f, uuid_of(1));
        assert_nothing_left(f);
}

/* ---- waiting for polkit ---- */

/* However many connections a user has, he gets so many questions to polkit, and leaves some to others. */
static void test_waiting_for_polkit(void **state) {
        /* Users whom every Debian has: a bus may want to know their groups. */
        static const uid_t users[] = { NOBODY, 1, 2, 3, 5, 6, 7, 8, 9, 10 };
        static Call calls[ELEMENTSOF(users)][2][ASKING_PER_USER];
        Fixture *f = *state;
        size_t n_refused = 0;

        fixture_polkit(f, true);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                for (unsigned j = 0; j < ELEMENTSOF(*calls); j++) {
                        sd_bus *bus = fixture_connect_as(f, users[i]);

                        for (unsigned k = 0; k < ELEMENTSOF(**calls); k++)
                                call_method(f, &calls[i][j][k], bus, NULL, "Manager", "GetVm", "s",
                                            uuid_of(k));
                }
        wait_until(f, f->n_held == ASKING);
        fixture_serve_for(f, 200000);
        assert_int_equal(f->n_asked, ASKING);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) {
                size_t n_waiting = 0;

                for (unsigned j = 0; j < ELEMENTSOF(*calls); j++)
                        for (unsigned k = 0; k < ELEMENTSOF(**calls); k++)
                                if (calls[i][j][k].reply) {
                                        call_expect(&calls[i][j][k], "LimitsExceeded");
                                        n_refused++;
                                } else
                                        n_waiting++;
                assert_in_range(n_waiting, 0, ASKING_PER_USER);
        }
        assert_int_equal(n_refused, sizeof(calls) / sizeof(Call) - ASKING);

        /* Who needs no polkit is served. */
        CREATE(f, uuid_of(1), .tier = "hardware", .functions = NIC);
        run_ok(f, NULL, "Manager", "GetVm", "s", uuid_of(1));
        vm_destroy_ok(f, uuid_of(1));

        fixture_polkit(f, false);
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                for (unsigned j = 0; j < ELEMENTSOF(*calls); j++)
                        for (unsigned k = 0; k < ELEMENTSOF(**calls); k++)
                                if (calls[i][j][k].slot)
                                        call_expect(&calls[i][j][k], "NoSuchVm");
        assert_nothing_left(f);
}

/* Whoever leaves while polkit thinks leaves room when it has thought. */
static void test_leaving_polkit(void **state) {
        Fixture *f = *state;
        Call calls[ASKING_PER_USER], more;

        for (unsigned round = 0; round < 3; round++) {
                sd_bus *nobody = fixture_connect_as(f, NOBODY);

                fixture_polkit(f, true);
                for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                        call_method(f, calls + i, nobody, NULL, "Manager", "PrepareContext", "s",
                                    uuid_of(1));
                wait_until(f, f->n_held == ELEMENTSOF(calls));
                for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                        call_done(calls + i);
                fixture_disconnect(f, nobody);
                fixture_polkit(f, false);
                nobody = fixture_connect_as(f, NOBODY);
                fixture_serve_for(f, 50000);
                call_method(f, &more, nobody, NULL, "Manager", "GetVm", "s", uuid_of(1));
                call_expect(&more, "NoSuchVm");
                fixture_disconnect(f, nobody);
        }
        assert_nothing_left(f);
}

/* ---- sizes ---- */

static void test_long_arguments(void **state) {
        static char text[(8 << 20) + 1];
        Fixture *f = *state;
        sd_bus *nobody = fixture_connect_as(f, NOBODY);
        sd_bus *callers[] = { f->bus, nobody };
        size_t memory = fixture_daemon_memory(f);

        fixture_polkit(f, true);
        for (size_t i = 0; i < ELEMENTSOF(callers); i++) {
                Call call;

                memset(text, 'x', sizeof(text) - 1);
                for (size_t n = sizeof(text) - 1; n > 256 * 1024; n /= 2) {
                        text[n] = '\0';
                        call_method(f, &call, callers[i], NULL, "Manager", "GetVm", "s", text);
                        call_expect(&call, "LimitsExceeded");
                        call_method(f, &call, callers[i], NULL, "Manager", "Plan", "sa{sv}",
                                    uuid_of(1), 1, "name", "s", text);
                        call_expect(&call, "LimitsExceeded");
                }
        }
        text[200 * 1024] = '\0';
        run_fails(f, "InvalidUuid", NULL, "Manager", "GetVm", "s", text);

        /* Many small ones are as bad as one long one, and what is in a variant counts. */
        for (size_t n = 1000; n <= 100000; n *= 10) {
                sd_bus_message *m = message_new(f->bus, NULL, "Manager", "Plan", "s", uuid_of(1));

                assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
                for (size_t i = 0; i < n; i++)
                        assert_true(sd_bus_message_append(m, "{sv}", "memory", "t", UINT64_C(1)) >=
                                    0);
                assert_true(sd_bus_message_close_container(m) >= 0);
                send_fails(f, n < 10000 ? "InvalidArgument" : "LimitsExceeded", m);
        }
        assert_true(fixture_daemon_memory(f) < memory + GROWTH_BYTES_MAX);
        assert_int_equal(f->n_asked, 0); /* nothing of that has got so far */
        assert_nothing_left(f);
}

/* The longest requests that make sense get through. */
static void test_longest_request(void **state) {
        Fixture *f = *state;
        sd_bus_message *m = message_new(f->bus, NULL, "Manager", "Plan", "s", uuid_of(1));
        Call call;

        assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
        assert_true(sd_bus_message_append(m, "{sv}", "tier", "s", "virtio") >= 0);
        assert_true(sd_bus_message_open_container(m, 'e', "sv") >= 0);
        assert_true(sd_bus_message_append(m, "s", "functions") >= 0);
        assert_true(sd_bus_message_open_container(m, 'v', "a(sa{sv})") >= 0);
        assert_true(sd_bus_message_open_container(m, 'a', "(sa{sv})") >= 0);
        for (unsigned i = 0; i < 1024; i++) {
                char address[16], guest[16];

                (void)snprintf(address, sizeof(address), "%04x:%02x:%02x.%u", i / 256, i % 256, 0U,
                               0U);
                (void)snprintf(guest, sizeof(guest), "%02x:%02x.%u", i / 32 % 256, i % 32, 0U);
                assert_true(sd_bus_message_append(m, "(sa{sv})", address, 3, "guest-device-id", "s",
                                                  guest, "vf-token", "s", uuid_of(i), "managed",
                                                  "b", false) >= 0);
        }
        for (int i = 0; i < 4; i++)
                assert_true(sd_bus_message_close_container(m) >= 0);
        call_start(f, &call, m);
        call_expect(&call, ""); /* a plan, though not one that admits */
}

static void assert_answer_is_bounded(Fixture *f, const char *path, const char *interface,
                                     const char *member, const char *types, ...) {
        sd_bus_message *m, *reply;
        char *text;
        size_t length;
        va_list ap;
        Call call;

        m = message_new(f->bus, path, interface, member, "");
        va_start(ap, types);
        assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
        va_end(ap);
        call_start(f, &call, m);
        call_wait(&call);
        assert_string_equal(call_error(&call), "");
        reply = call.reply;
        text = message_to_text(reply);
        length = strlen(text);
        free(text);
        call_done(&call);
        print_message("%s: %zu KiB\n", member, length / 1024);
        assert_in_range(length, 1, ANSWER_BYTES_MAX);
}

/* As many VMs as a page has, with the longest names; all functions of a large host, most of them in one VM. */
static void test_long_answers(void **state) {
        Fixture *f = *state;
        char name[256], functions[1024 * 13] = "", *to = functions;
        const char *address, *unused, *vm = vm_path(uuid_of(5000));
        static Call calls[1000];
        sd_bus_message *m;
        size_t n = 0;

        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) {
                (void)snprintf(name, sizeof(name), "%0*u", 128, i);
                call_start(f, calls + i,
                           vm_request(f->bus, "CreateVm",
                                      &(VmSpec){ .uuid = uuid_of(i),
                                                 .name = name,
                                                 .tier = "virtio",
                                                 .handover = "none" }));
                if (i % 32 == 31) /* no more than a caller may have open */
                        call_wait(calls + i);
        }
        for (size_t i = 0; i < ELEMENTSOF(calls); i++)
                call_expect(calls + i, "");

        m = ask(f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1000));
        assert_true(sd_bus_message_enter_container(m, 'a', "(sssuissa{sv})") > 0);
        while (sd_bus_message_enter_container(m, 'r', "sssuissa{sv}") > 0 && n < 512) {
                assert_true(sd_bus_message_read(m, "ss", &address, &unused) > 0);
                if (strncmp(unused, "vfio", 4) == 0) {
                        to += sprintf(to, "%s%s", n > 0 ? " " : "", address);
                        n++;
                }
                assert_true(sd_bus_message_skip(m, "suissa{sv}") >= 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
        }
        sd_bus_message_unref(m);
        print_message("a VM of %zu functions\n", n);
        assert_true(n > 100);
        CREATE(f, uuid_of(5000), .tier = "virtio", .handover = "none", .functions = functions);

        assert_answer_is_bounded(f, NULL, "Manager", "ListVms", "su", "", UINT32_C(1000));
        assert_answer_is_bounded(f, NULL, "Manager", "ListVmDetails", "su", "", UINT32_C(1000));
        assert_answer_is_bounded(f, NULL, "Manager", "ListFunctions", "su", "", UINT32_C(1000));
        assert_answer_is_bounded(f, vm, "Vm", "Describe", "s", "json");
        assert_answer_is_bounded(f, vm, "org.freedesktop.DBus.Properties", "GetAll", "s",
                                 "org.aviommu1.Vm");
        assert_answer_is_bounded(f, NULL, "org.freedesktop.DBus.Properties", "GetAll", "s",
                                 "org.aviommu1.Manager");
        assert_answer_is_bounded(f, ROOT_PATH "/host", "org.freedesktop.DBus.ObjectManager",
                                 "GetManagedObjects", "");
        assert_answer_is_bounded(f, NULL, "org.freedesktop.DBus.Introspectable", "Introspect", "");
        vm_destroy_ok(f, uuid_of(5000));
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                vm_destroy_ok(f, uuid_of(i));
        assert_nothing_left(f);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_flood),
                BUS_TEST(test_waiting_for_polkit),
                BUS_TEST(test_leaving_polkit),
                BUS_TEST(test_long_arguments),
                BUS_TEST(test_longest_request, .config = "MaxFunctionsPerVm=1024"),
                BUS_TEST(test_long_answers, .profile = "scale", .config = "MaxFunctionsPerVm=1024"),
        };

        if (geteuid() != 0) {
                (void)fputs("test-bus-flood has to be several users, so it needs root.\n", stderr);
                return EXIT_FAILURE;
        }
        return bus_tests_run(argc, argv, tests);
}
