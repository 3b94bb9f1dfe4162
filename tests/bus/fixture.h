/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the tests of the bus stand on: a private bus (dbus-daemon or dbus-broker) and aviommud-sim on it, each a process of its
 * own, a folder that goes with them, and connections to the bus.
 *
 * Nothing here waits for one answer alone: every call is asynchronous underneath, and while one is awaited all connections of
 * the test are served. So a test can be several callers, polkit and a listener in one thread.
 *
 * The processes die with the test program, however that ends. fixture_teardown() ends the daemon with SIGTERM and checks that
 * it exits with 0 and leaves nothing in the simulated kernel, whatever the test was about.
 *
 * Whatever fails in here fails the test.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>
#include <systemd/sd-bus.h>

#include "base/macro.h"
#include "kernel/sim/sim.h"
#include "unit/service-manager.h"

#define ROOT_PATH       "/org/aviommu1"
#define SIMULATION_PATH ROOT_PATH "/simulation"

/* What a test wants: the member's defaults are those of a zeroed struct. */
typedef struct Setup {
        const char *profile; /* a name in policy/profiles; NULL: "epyc-2p" */
        const char *config;  /* lines for [Manager], and sections after them */
        bool other_exit; /* the test ends the daemon itself: its exit code is the test's matter */
        bool keep_log;   /* what the daemon says goes to the file "log" in the test's folder */
        /* Not 0: so many descriptors are kept for the daemon, and it has the runtime directory "run" in the test's folder */
        unsigned fdstore_max;
        bool definitions; /* they are kept in the folder "definitions" in the test's folder */
} Setup;

#define CONNECTIONS_MAX 80
#define CHILDREN_MAX    16

typedef struct Fixture {
        const Setup *setup;
        char folder[64], address[128];
        pid_t bus_pid, daemon_pid; /* 0: not there (any more) */
        ServiceManager *manager;   /* that keeps its descriptors; NULL: none */
        Kernel *kernel;            /* the daemon's simulated kernel, opened as by another process */
        sd_bus *bus;               /* a caller with the daemon's own uid */
        sd_bus *ear;               /* hears the daemon's signals */
        sd_bus *polkit;            /* of fixture_polkit() */
        sd_bus_message **held;     /* questions that it has not answered */
        size_t n_held, n_asked;
        bool hold;
        const char *given; /* actions that fixture_polkit_give() named */
        sd_bus *connections[CONNECTIONS_MAX];
        char **signals;
        size_t n_signals, n_signals_read;
        unsigned n_answers;
        bool ending; /* a test that failed may have left calls that nobody waits for */
        pid_t children[CHILDREN_MAX]; /* of the test, killed at its end */
} Fixture;

/* ---- life ---- */

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* A cmocka test with a Setup: BUS_TEST(test_x, .profile = "small") */
#define BUS_TEST(function, ...)                                                                    \
        {                                                                                          \
                .name = #function,                                                                 \
                .test_func = (function),                                                           \
                .setup_func = fixture_setup,                                                       \
                .teardown_func = fixture_teardown,                                                 \
                .initial_state = &(Setup){ __VA_ARGS__ },                                          \
        }

/* main() of a test program: PROGRAM dbus-daemon|dbus-broker [PATTERN]. Returns the exit code. */
#define bus_tests_run(argc, argv, tests)                                                           \
        (bus_tests_arguments((argc), (argv)) ? 2 : cmocka_run_group_tests(tests, NULL, NULL))
int bus_tests_arguments(int argc, char **argv);

/* Serves the connections once, waiting at most @usec for something to come. */
void fixture_serve(Fixture *f, uint64_t usec);
void fixture_serve_for(Fixture *f, uint64_t usec);

uint64_t now_usec(void);

/* Runs until @condition holds: serves meanwhile, and fails the test after a while. */
#define wait_until(f, condition)                                                                   \
        do {                                                                                       \
                uint64_t _deadline = now_usec() + UINT64_C(30000000);                              \
                while (!(condition)) {                                                             \
                        if (now_usec() > _deadline)                                                \
                                fail_msg("timed out waiting for: %s", #condition);                 \
                        fixture_serve((f), 10000);                                                 \
                }                                                                                  \
        } while (false)

/* Another connection, of the effective uid that the process has now. Closed at the end of the test, or before that. */
sd_bus *fixture_connect(Fixture *f);
void fixture_disconnect(Fixture *f, sd_bus *bus);

/* The same as somebody else: the bus sees the uid that connects. */
sd_bus *fixture_connect_as(Fixture *f, uid_t uid);

/* The same with @group as the one supplementary group. */
sd_bus *fixture_connect_in(Fixture *f, uid_t uid, gid_t group);

/* Stands in for polkit: anybody may look, nobody else may do anything. With @hold it does not answer at all, as when somebody
 * who is asked for his password does not type it, until it is told again not to hold. */
void fixture_polkit(Fixture *f, bool hold);

/* The same, without holding, and everybody may do these actions too (with spaces between them; it has to outlive the fixture). */
void fixture_polkit_give(Fixture *f, const char *actions);

/* Bytes of the daemon's memory that are its own (RssAnon): the simulated kernel's are not. */
size_t fixture_daemon_memory(const Fixture *f);

/* The daemon dies by SIGKILL, and is gone from the bus; is started again; is there again. */
void fixture_kill_daemon(Fixture *f);
void fixture_launch_daemon(Fixture *f);
void fixture_await_daemon(Fixture *f);
bool fixture_has_owner(Fixture *f);
void fixture_restart(Fixture *f);

/* How many descriptors the service manager keeps. */
size_t fixture_count_stored(Fixture *f);

/* Waits for the daemon to end (it has been told to). Returns its wait status. */
int fixture_wait_daemon(Fixture *f);
void fixture_kill_bus(Fixture *f);

/* Another bus in place of it, where the same unique names are given again. The daemon must not run; all connections are gone. */
void fixture_restart_bus(Fixture *f);

/* Descriptors that the daemon has open. Without the eventfds: of those the simulated kernel closes its own when it next has
 * something to look at. */
size_t fixture_count_daemon_fds(const Fixture *f, bool with_eventfds);

/* Forks a child that dies with the test. Returns as fork() does; the child ends with _exit(). */
pid_t fixture_fork(Fixture *f);
void fixture_kill(Fixture *f, pid_t pid);
int fixture_pidfd(pid_t pid);

/* ---- calls ---- */

typedef struct Call {
        Fixture *f;
        sd_bus_slot *slot;
        sd_bus_message *reply; /* NULL until it is there */
        unsigned order;        /* of its answer among all answers */
} Call;

/* A method call. @path: NULL for the Manager's; @interface: "Vm" for org.aviommu1.Vm, or a whole name. */
sd_bus_message *message_new(sd_bus *bus, const char *path, const char *interface,
                            const char *member, const char *types, ...);

/* Sends @m, which it takes, and doesn't wait. */
void call_start(Fixture *f, Call *call, sd_bus_message *m);
void call_wait(Call *call);
void call_done(Call *call);

/* Sends now, in one go with the calls before it. */
void call_method(Fixture *f, Call *call, sd_bus *bus, const char *path, const char *interface,
                 const char *member, const char *types, ...);

/* "" for success; the error's name, without "org.aviommu1.Error.". Of an answered call. */
const char *call_error(const Call *call);

/* Waits for the answer, requires success ("") or that error, and ends the call. */
void call_expect(Call *call, const char *error);

/* Calls and requires success; the reply is the caller's to unref. */
sd_bus_message *ask(Fixture *f, const char *path, const char *interface, const char *member,
                    const char *types, ...);

/* Calls and requires success; the results don't matter. */
void run_ok(Fixture *f, const char *path, const char *interface, const char *member,
            const char *types, ...);

/* Calls and requires the error, with a sentence. */
void run_fails(Fixture *f, const char *error, const char *path, const char *interface,
               const char *member, const char *types, ...);

/* The same for a message made before. */
void send_fails(Fixture *f, const char *error, sd_bus_message *m);

/* ---- what is there, as text ---- */

/* Everything from here to the end of the message: (1, "a", [true], {"k": 2}); free() it. */
char *message_to_text(sd_bus_message *m);

/* The results of a call, and the value of a property. free() them. */
char *ask_text(Fixture *f, const char *path, const char *interface, const char *member,
               const char *types, ...);
char *property(Fixture *f, const char *path, const char *interface, const char *name);
void assert_property(Fixture *f, const char *path, const char *interface, const char *name,
                     const char *expected);

/* All that a request that fails has to leave as it was: what is charged, what the kernel has, the VMs. free() it. */
char *world(Fixture *f);
void assert_world(Fixture *f, const char *before);

/* No VM, nothing charged, nothing in the kernel. */
void assert_nothing_left(Fixture *f);

/* The same, and nothing with the service manager either. */
void assert_clean(Fixture *f);

/* Writes another configuration for Reload to read; a start writes the test's own again. */
void fixture_write_config(Fixture *f, const char *text);

/* The property NVms. */
unsigned vm_count(Fixture *f);

/* One of Simulation.Counters. */
uint64_t counter(Fixture *f, const char *name);

/* ---- signals ---- */

/* Waits for a signal after the last one that was read, "Member argument ..." by pattern as for fnmatch(3). */
const char *hear(Fixture *f, const char *pattern);

/* How many such signals have come since the last one read, without waiting. */
size_t count_heard(Fixture *f, const char *pattern);

/* Lets everything come that is under way, and counts it as read. */
void forget_signals(Fixture *f);

/* ---- VMs ---- */

typedef struct VmSpec {
        const char *uuid, *name, *tier, *handover;
        /* "0000:41:00.0 0000:51:00.1=02:00.0,token=UUID 0000:44:00.0,managed" */
        const char *functions;
        uint64_t memory;
        uint32_t guest_domains;
        const char *leash, *tenant;
        int leash_pidfd; /* 0: none */
} VmSpec;

/* The request as a message for CreateVm or Plan. */
sd_bus_message *vm_request(sd_bus *bus, const char *member, const VmSpec *spec);

void vm_create(Fixture *f, const VmSpec *spec);
void vm_create_fails(Fixture *f, const char *error, const VmSpec *spec);
#define CREATE(f, ...)              vm_create((f), &(VmSpec){ __VA_ARGS__ })
#define CREATE_FAILS(f, error, ...) vm_create_fails((f), (error), &(VmSpec){ __VA_ARGS__ })

/* Waits until it is done. */
void vm_destroy_ok(Fixture *f, const char *uuid);
void vm_destroy_force(Fixture *f, const char *uuid);

/* UUIDs by number, and object paths of UUIDs; in buffers that are used again after many more. */
const char *uuid_of(unsigned n);
const char *vm_path(const char *uuid);
const char *viommu_path(const char *uuid, unsigned host_iommu);

/* OpenContext and OpenDevice: descriptors of the caller's own. */
int vm_open_context(Fixture *f, const char *uuid, char **ret_ids);
int vm_open_device(Fixture *f, const char *uuid, const char *function);

/* PrepareContext: a descriptor of the caller's own. */
int vm_prepare(Fixture *f, const char *uuid);

/* All that the bus shows, of VMs @from to @to every property. free() it. */
char *vm_appearance(Fixture *f, unsigned from, unsigned to);

/* A memfd of that many bytes. */
int memfd_of(uint64_t bytes);

PciAddress address_of(const char *s);
