/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Every method of every object that the daemon shows, called with whatever its signature takes and with what it does not, by
 * the daemon's own user and by nobody in particular:
 *
 *      test-bus-fuzz dbus-daemon|dbus-broker [--seed=N] [--first=N] [--rounds=N] [--seconds=N]
 *
 * What is called comes from the introspection of the daemon that runs: a method that is new is called without a change here.
 * Each call is answered, with a result or with an error that is in the manual; nobody changes nothing; between the rounds the
 * daemon does its work; and in the end it has what it had: no VM, no charge, no kernel object, no descriptor, no memory more.
 *
 * A round depends on the seed and on its number alone, so a failure is to be had again with --seed=S --first=ROUND --rounds=1.
 * Needs root, to be two users.
 */

#include "fuzz.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define NOBODY         65534
#define CALLS_A_ROUND  200
#define CALLS_AT_ONCE  24
#define ANSWER_USEC    UINT64_C(30000000)
#define TOKENS_MAX     4096
#define TEXT_SHOWN_MAX 4000
#define MEMBERS_MAX    128

/* What the daemon may have more of its own memory in the end than after the first rounds. Of what was freed the address
 * sanitizer keeps up to a quarter of a GiB. */
#ifdef __SANITIZE_ADDRESS__
#define GROWTH_BYTES_MAX ((size_t)400 << 20)
#else
#define GROWTH_BYTES_MAX ((size_t)8 << 20)
#endif

static struct {
        uint64_t seed, first, n_rounds, seconds;
        bool has_seed;
} options = { .seconds = 6 };

typedef struct FuzzCall {
        Call call;
        sd_bus_message *m;
        uint64_t number;
} FuzzCall;

/* How a member of the daemon's own fared with root. */
typedef struct Tally {
        char member[32];
        uint64_t n_calls, n_successes;
} Tally;

typedef struct Session {
        Fuzz fuzz;
        Fixture *f;
        uint64_t round, n_calls, n_successes;
        bool privileged;
        char tokens[TOKENS_MAX][40]; /* of reservations, to be given back */
        size_t n_tokens;
        Tally tallies[MEMBERS_MAX];
} Session;

/* ---- one call ---- */

/* Says which call it was, and what with. */
static void show(const Session *s, const FuzzCall *c) {
        _cleanup_free_ char *text = NULL;

        assert_true(sd_bus_message_rewind(c->m, true) >= 0);
        text = message_to_text(c->m);
        print_error("--seed=%" PRIu64 " --first=%" PRIu64 " --rounds=1, call %" PRIu64
                    " of %s: %s %s.%s \"%s\" %.*s\n",
                    options.seed, s->round, c->number, s->privileged ? "root" : "nobody",
                    sd_bus_message_get_path(c->m), sd_bus_message_get_interface(c->m),
                    sd_bus_message_get_member(c->m), sd_bus_message_get_signature(c->m, true),
                    TEXT_SHOWN_MAX, text);
}

/* Methods that change nothing: who may look may call them. */
static bool only_looks(sd_bus_message *m) {
        static const char *const members[] = {
                "Plan",          "GetVm",          "GetVmByName",     "ListVms",
                "ListFunctions", "Describe",       "ListQuarantined", "ListReservations",
                "ListVmDetails", "ListDefinitions"
        };

        if (strncmp(sd_bus_message_get_interface(m), "org.aviommu1.", 13) != 0)
                return !streq(sd_bus_message_get_member(m), "Set");
        for (size_t i = 0; i < ELEMENTSOF(members); i++)
                if (streq(sd_bus_message_get_member(m), members[i]))
                        return true;
        return false;
}

/* Errors of the bus library's own that are the caller's fault. The others, "System.Error." among them, are not to be seen. */
static bool is_callers_fault(const char *name) {
        static const char *const names[] = {
                "InvalidArgs",     "UnknownMethod",    "UnknownObject",    "UnknownInterface",
                "UnknownProperty", "PropertyReadOnly", "InvalidSignature", "AccessDenied",
                "FileNotFound", /* an interface that there is not, of a VM that is gone */
        };
        static const char prefix[] = "org.freedesktop.DBus.Error.";

        if (strncmp(name, prefix, strlen(prefix)) != 0)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(name + strlen(prefix), names[i]))
                        return true;
        return false;
}

static void keep_token(Session *s, const FuzzCall *c) {
        const char *token;

        if (!streq(sd_bus_message_get_member(c->m), "Reserve"))
                return;
        assert_true(sd_bus_message_read(c->call.reply, "s", &token) > 0);
        assert_true(s->n_tokens < TOKENS_MAX);
        (void)snprintf(s->tokens[s->n_tokens++], sizeof(*s->tokens), "%s", token);
}

static void count(Session *s, const FuzzCall *c, bool success) {
        const char *member = sd_bus_message_get_member(c->m);
        size_t i = 0;

        if (!s->privileged || strncmp(sd_bus_message_get_interface(c->m), "org.aviommu1.", 13) != 0)
                return;
        while (s->tallies[i].n_calls > 0 && !streq(s->tallies[i].member, member))
                i++;
        assert_true(i < MEMBERS_MAX - 1);
        (void)snprintf(s->tallies[i].member, sizeof(s->tallies[i].member), "%s", member);
        s->tallies[i].n_calls++;
        s->tallies[i].n_successes += success;
}

static void print_tallies(const Session *s) {
        print_message("of which root's successes:");
        for (const Tally *t = s->tallies; t->n_calls > 0; t++)
                print_message(" %s %" PRIu64 "/%" PRIu64, t->member, t->n_successes, t->n_calls);
        print_message("\n");
}

/* The error's name; NULL when the answer is as it may be. */
static const char *check_answer(Session *s, const FuzzCall *c) {
        const sd_bus_error *e = sd_bus_message_get_error(c->call.reply);

        count(s, c, !e);
        if (!e) {
                s->n_successes++;
                if (s->privileged)
                        keep_token(s, c);
                return s->privileged || only_looks(c->m) ? NULL : "nobody may not do this";
        }
        if (strncmp(e->name, "org.aviommu1.Error.", 19) != 0)
                return is_callers_fault(e->name) ? NULL : e->name;
        return e->message && strlen(e->message) >= 16 && e->message[strlen(e->message) - 1] == '.'
                       ? NULL
                       : "an error without a sentence";
}

static void call_end(Session *s, FuzzCall *c) {
        uint64_t deadline = now_usec() + ANSWER_USEC;
        const sd_bus_error *e;
        const char *wrong;

        while (!c->call.reply && now_usec() < deadline)
                fixture_serve(s->f, 100000);
        wrong = c->call.reply ? check_answer(s, c) : "no answer";
        if (wrong) {
                show(s, c);
                e = c->call.reply ? sd_bus_message_get_error(c->call.reply) : NULL;
                fail_msg("%s: %s", wrong, e && e->message ? e->message : "");
        }
        call_done(&c->call);
        c->m = sd_bus_message_unref(c->m);
}

/* ---- rounds ---- */

/* Less often: those of the bus library's interfaces, which every object has, and those after which there is less to call. */
static bool is_rare(const FuzzMethod *method) {
        return strncmp(method->interface, "org.aviommu1.", 13) != 0 ||
               streq(method->member, "Destroy") || streq(method->member, "Probe");
}

static const FuzzMethod *pick_method(Fuzz *z) {
        const FuzzMethod *method;

        do
                method = z->methods + fuzz_below(z, z->n_methods);
        while (is_rare(method) && !fuzz_one_in(z, 16));
        return method;
}

static void make_calls(Session *s, sd_bus *bus) {
        FuzzCall calls[CALLS_AT_ONCE] = {};

        for (uint64_t i = 0; i < CALLS_A_ROUND; i++) {
                FuzzCall *c = calls + i % CALLS_AT_ONCE;

                if (c->m)
                        call_end(s, c);
                c->number = i;
                c->m = sd_bus_message_ref(fuzz_message(&s->fuzz, bus, pick_method(&s->fuzz)));
                call_start(s->f, &c->call, c->m);
                s->n_calls++;
        }
        for (uint64_t i = 0; i < CALLS_AT_ONCE; i++)
                if (calls[(CALLS_A_ROUND + i) % CALLS_AT_ONCE].m)
                        call_end(s, calls + (CALLS_A_ROUND + i) % CALLS_AT_ONCE);
}

/* VMs to call: one of each handover. */
static void make_vms(Fixture *f) {
        CREATE(f, uuid_of(1), .name = "one", .tier = "hardware",
               .functions = "0000:01:00.0 0000:41:00.0");
        CREATE(f, uuid_of(2), .name = "two", .tier = "emulated", .handover = "vmm",
               .functions = "0001:01:00.0");
        CREATE(f, uuid_of(3), .tier = "virtio", .handover = "none", .functions = "0001:41:00.0");
        for (unsigned i = 1; i <= 3; i++)
                run_ok(f, NULL, "Manager", "DefineVm", "sa{sv}a{sv}", uuid_of(i), 1, "tier", "s",
                       "virtio", 1, "replace", "b", true);
}

static void unmake_definitions(Session *s) {
        sd_bus_message *m = ask(s->f, NULL, "Manager", "ListDefinitions", "su", "", UINT32_C(1000));
        const char *uuid;

        assert_true(sd_bus_message_enter_container(m, 'a', "(ssubssssstas)") > 0);
        while (sd_bus_message_enter_container(m, 'r', "ssubssssstas") > 0) {
                assert_true(sd_bus_message_read(m, "s", &uuid) > 0);
                run_ok(s->f, NULL, "Manager", "UndefineVm", "s", uuid);
                assert_true(sd_bus_message_skip(m, "subssssstas") > 0);
                assert_true(sd_bus_message_exit_container(m) > 0);
        }
        sd_bus_message_unref(m);
}

static void unmake_vms(Session *s) {
        uint64_t deadline = now_usec() + ANSWER_USEC;

        while (vm_count(s->f) > 0) {
                sd_bus_message *m = ask(s->f, NULL, "Manager", "ListVms", "su", "", UINT32_C(1000));
                const char *unused, *path;
                uint32_t n;

                if (now_usec() > deadline)
                        fail_msg("round %" PRIu64 ": VMs that do not go", s->round);
                assert_true(sd_bus_message_enter_container(m, 'a', "(sssssuo)") > 0);
                while (sd_bus_message_read(m, "(sssssuo)", &unused, &unused, &unused, &unused,
                                           &unused, &n, &path) > 0) {
                        Call call;

                        call_method(s->f, &call, s->f->bus, path, "Vm", "Destroy", "a{sv}", 1,
                                    "force", "b", true);
                        call_wait(&call);
                        call_done(&call);
                }
                sd_bus_message_unref(m);
        }
        for (; s->n_tokens > 0; s->n_tokens--) { /* some have expired, or are used */
                Call call;

                call_method(s->f, &call, s->f->bus, NULL, "Manager", "Unreserve", "s",
                            s->tokens[s->n_tokens - 1]);
                call_wait(&call);
                call_done(&call);
        }
}

/* The daemon does what it is there for. */
static void check_alive(Fixture *f) {
        run_ok(f, NULL, "org.freedesktop.DBus.Peer", "Ping", "");
        CREATE(f, uuid_of(9999), .tier = "hardware", .functions = "0002:01:00.0");
        vm_destroy_ok(f, uuid_of(9999));
}

static void run_round(Session *s, bool privileged) {
        _cleanup_free_ char *before = NULL;
        sd_bus *bus = privileged ? fixture_connect(s->f) : fixture_connect_as(s->f, NOBODY);

        s->privileged = privileged;
        fuzz_seed(&s->fuzz, options.seed, s->round * 2 + privileged);
        if (!privileged)
                before = world(s->f);
        fuzz_read_targets(&s->fuzz, !privileged);
        make_calls(s, bus);
        if (!privileged)
                assert_world(s->f, before);
        fixture_disconnect(s->f, bus);
}

/* Nothing is left of all that. */
static void check_clean(Session *s, size_t n_fds) {
        Fixture *f = s->f;

        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
        assert_property(f, NULL, "Manager", "NReservations", "0");
        wait_until(f, fixture_count_daemon_fds(f, false) <= n_fds);
}

static void test_fuzz(void **state) {
        static Session session;
        Session *s = &session;
        size_t n_fds, memory = 0, grown;
        uint64_t end = now_usec() + options.seconds * 1000000;

        *s = (Session){ .f = *state, .fuzz = { .f = *state } };
        print_message("--seed=%" PRIu64 "\n", options.seed);
        fixture_polkit(s->f, false);
        fuzz_read_manual(&s->fuzz);
        fuzz_open_fds(&s->fuzz);
        run_ok(s->f, ROOT_PATH "/host/ivhd0", "HostIommu", "Probe", "");
        check_alive(s->f);
        n_fds = fixture_count_daemon_fds(s->f, false);

        for (uint64_t i = 0; options.n_rounds > 0 ? i < options.n_rounds : now_usec() < end; i++) {
                s->round = options.first + i;
                make_vms(s->f);
                run_round(s, false);
                run_round(s, true);
                unmake_vms(s);
                unmake_definitions(s);
                check_alive(s->f);
                check_clean(s, n_fds);
                if (i == 3)
                        memory = fixture_daemon_memory(s->f);
        }

        grown = memory > 0 ? fixture_daemon_memory(s->f) : 0;
        grown -= MIN(grown, memory);
        print_message("%" PRIu64 " calls to %zu methods, %" PRIu64
                      " successes, %zu keys; the daemon "
                      "grew by %zu KiB\n",
                      s->n_calls, s->fuzz.n_methods, s->n_successes, s->fuzz.n_keys, grown / 1024);
        print_tallies(s);
        assert_true(grown < GROWTH_BYTES_MAX);
        assert_true(s->n_successes > s->n_calls / 100); /* not only the gate is tried */
        for (size_t i = 0; i < s->fuzz.n_fds; i++)
                (void)close(s->fuzz.fds[i]);
        fuzz_done(&s->fuzz);
}

/* Takes the options of this program out of the arguments. */
static int parse_options(int argc, char **argv) {
        static const struct option known[] = {
                { "seed", required_argument, NULL, 's' },
                { "first", required_argument, NULL, 'f' },
                { "rounds", required_argument, NULL, 'r' },
                { "seconds", required_argument, NULL, 't' },
                {},
        };
        int c;

        while ((c = getopt_long(argc, argv, "", known, NULL)) >= 0) {
                uint64_t *value = c == 's'   ? &options.seed
                                  : c == 'f' ? &options.first
                                  : c == 'r' ? &options.n_rounds
                                  : c == 't' ? &options.seconds
                                             : NULL;

                if (!value)
                        return -EINVAL;
                *value = strtoull(optarg, NULL, 0);
                options.has_seed |= c == 's';
        }
        if (!options.has_seed && getrandom(&options.seed, 4, 0) != 4)
                return -EIO;
        return 0;
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_fuzz, .definitions = true,
                         .config = "AdmissionTimeoutSec=60\nDetachTimeoutSec=1"),
        };

        if (geteuid() != 0) {
                (void)fputs("test-bus-fuzz has to be two users, so it needs root.\n", stderr);
                return EXIT_FAILURE;
        }
        if (parse_options(argc, argv) < 0)
                return 2;
        return bus_tests_run(argc - optind + 1, argv + optind - 1, tests);
}
