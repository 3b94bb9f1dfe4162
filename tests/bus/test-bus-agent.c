/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * aviommu-libvirt-agent between aviommud and libvirt's test driver, which it shares with the test: the agent runs in a thread of the
 * test program. What the driver lacks is in fake-libvirt.c.
 */

#include "fixture.h"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/fd-util.h"
#include "base/log.h"
#include "domain/domain.h"
#include "fake-libvirt.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"
#define SEC  UINT64_C(1000000)

/* ---- what the agent says ---- */

void __real_log_vm(int level, const char *vm, const char *format, ...) _printf_(3, 4);
void __wrap_log_vm(int level, const char *vm, const char *format, ...) _printf_(3, 4);

void __real_log_event(int level, const char *message_id, const LogFields *fields,
                      const char *format, ...) _printf_(4, 5);
void __wrap_log_event(int level, const char *message_id, const LogFields *fields,
                      const char *format, ...) _printf_(4, 5);

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char log_text[1 << 18];

static void remember(const char *text) {
        size_t n;

        (void)pthread_mutex_lock(&log_lock);
        n = strlen(log_text);
        (void)snprintf(log_text + n, sizeof(log_text) - n, "%s\n", text);
        (void)pthread_mutex_unlock(&log_lock);
}

void __wrap_log_vm(int level, const char *vm, const char *format, ...) {
        char text[1024];
        va_list ap;

        if (level > LOG_INFO)
                return;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        __real_log_vm(level, vm, "%s", text);
        remember(text);
}

void __wrap_log_event(int level, const char *message_id, const LogFields *fields,
                      const char *format, ...) {
        char text[1024];
        va_list ap;

        if (level > LOG_INFO)
                return;
        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        __real_log_event(level, message_id, fields, "%s", text);
        remember(text);
}

static unsigned count_said(const char *part) {
        unsigned n = 0;

        (void)pthread_mutex_lock(&log_lock);
        for (const char *p = log_text; (p = strstr(p, part)); p += strlen(part))
                n++;
        (void)pthread_mutex_unlock(&log_lock);
        return n;
}

/* ---- the agent ---- */

typedef struct AgentThread {
        Fixture *f;
        LibvirtConfig config;
        char runtime_folder[96];
        pthread_t thread;
        int stop_fd; /* -1: it does not run */
        int result;
} AgentThread;

static int on_stop(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        (void)fd;
        (void)events;
        (void)userdata;
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void *run_agent(void *userdata) {
        AgentThread *a = userdata;
        const AgentOptions options = { .config = &a->config,
                                       .bus_address = a->f->address,
                                       .runtime_folder = a->runtime_folder };
        sd_event *event = NULL;
        Agent *agent = NULL;
        int r;

        r = sd_event_new(&event);
        if (r >= 0)
                r = sd_event_add_io(event, NULL, a->stop_fd, EPOLLIN, on_stop, NULL);
        if (r >= 0)
                r = agent_new(event, &options, &agent);
        if (r >= 0)
                r = sd_event_loop(event);
        if (agent && agent_free(agent) < 0)
                r = -ETIMEDOUT;
        (void)sd_event_unref(event);
        a->result = r;
        return NULL;
}

static void agent_init(AgentThread *a, Fixture *f) {
        *a = (AgentThread){ .f = f, .stop_fd = -1 };
        libvirt_config_init(&a->config);
        a->config.uri = strdup("test:///default");
        assert_non_null(a->config.uri);
        a->config.report_usec = SEC / 4;
        (void)snprintf(a->runtime_folder, sizeof(a->runtime_folder), "%s/agent", f->folder);
        assert_int_equal(mkdir(a->runtime_folder, 0700), 0);
}

static void agent_start(AgentThread *a) {
        a->stop_fd = eventfd(0, EFD_CLOEXEC);
        assert_true(a->stop_fd >= 0);
        assert_int_equal(pthread_create(&a->thread, NULL, run_agent, a), 0);
}

static void agent_begin(AgentThread *a, Fixture *f) {
        agent_init(a, f);
        agent_start(a);
}

static void agent_stop(AgentThread *a) {
        const uint64_t one = 1;

        assert_int_equal(write(a->stop_fd, &one, sizeof(one)), sizeof(one));
        assert_int_equal(pthread_join(a->thread, NULL), 0);
        (void)close(a->stop_fd);
        assert_int_equal(a->result, 0);
}

/* ---- libvirt ---- */

static virConnectPtr libvirt_begin(void) {
        virConnectPtr connection;

        fake_libvirt_reset();
        log_text[0] = '\0';
        /* Domains of the test driver live as long as somebody is connected. */
        connection = virConnectOpen("test:///default");
        assert_non_null(connection);
        return connection;
}

static void libvirt_end(virConnectPtr connection, AgentThread *a) {
        libvirt_config_done(&a->config);
        (void)virConnectClose(connection);
        fake_libvirt_reset();
}

static virDomainPtr define(virConnectPtr connection, const char *name, const char *uuid) {
        virDomainPtr domain;
        char xml[512];

        (void)snprintf(xml, sizeof(xml),
                       "<domain type='test'><name>%s</name><uuid>%s</uuid><memory>8192</memory>"
                       "<os><type>hvm</type></os><devices><emulator>/bin/true</emulator></devices>"
                       "</domain>",
                       name, uuid);
        domain = virDomainDefineXML(connection, xml);
        assert_non_null(domain);
        return domain;
}

static sd_id128_t id_of(const char *uuid) {
        sd_id128_t id;

        assert_true(sd_id128_from_string(uuid, &id) >= 0);
        return id;
}

static int associated(const char *uuid) {
        return fake_libvirt_get_associated(id_of(uuid));
}

/* The dead end is a character device; no context is. */
static bool is_associated_with(const char *uuid, bool dead_end) {
        _cleanup_close_ int fd = associated(uuid);
        struct stat st;

        return fd >= 0 && fstat(fd, &st) >= 0 && S_ISCHR(st.st_mode) == dead_end;
}

static bool is_associated(const char *uuid) {
        return is_associated_with(uuid, false);
}

static bool is_dead_end(const char *uuid) {
        return is_associated_with(uuid, true);
}

static bool same_file(int a, int b) {
        return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

/* Whether @fd is what is associated. */
static bool is_associated_file(const char *uuid, int fd) {
        _cleanup_close_ int other = associated(uuid);

        return same_file(fd, other);
}

/* What the hook does when the VM starts, and what QEMU would get; the VM's context is what is associated. */
static void admit_on_associated(Fixture *f, const char *uuid, int self) {
        int context;

        CREATE(f, uuid, .tier = "virtio", .handover = "vmm", .leash_pidfd = self);
        context = vm_open_context(f, uuid, NULL);
        assert_true(is_associated_file(uuid, context));
        (void)close(context);
}

static char *functions_of(Fixture *f, const char *uuid) {
        return property(f, vm_path(uuid), "Vm", "Functions");
}

static bool has_function(Fixture *f, const char *uuid, const char *function) {
        _cleanup_free_ char *text = functions_of(f, uuid);

        return strstr(text, function);
}

/* ---- contexts ---- */

/* A fresh one before each start, whoever comes and goes. */
static void test_contexts(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *other = uuid_of(2);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        virDomainPtr plain = define(connection, "plain", other);
        int self = fixture_pidfd(getpid()), first;
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid));
        first = associated(uuid);
        assert_true(first >= 0);

        admit_on_associated(f, uuid, self);
        assert_int_equal(virDomainCreate(domain), 0);
        fixture_serve_for(f, SEC / 2);
        assert_true(is_associated_file(uuid, first));

        /* libvirt is done with it before aviommud is: the dead end is there, and then another. */
        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, is_dead_end(uuid));
        fixture_serve_for(f, SEC / 2);
        assert_true(is_dead_end(uuid));
        vm_destroy_force(f, uuid);
        wait_until(f, is_associated(uuid));
        assert_false(is_associated_file(uuid, first));
        (void)close(first);

        /* A start that fails once it is admitted. */
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 3);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 4);

        /* One that is defined later, and one that wants none. */
        assert_int_equal(associated(other), -1);
        (void)virDomainFree(define(connection, "vm-b", uuid_of(3)));
        wait_until(f, is_associated(uuid_of(3)));

        agent_stop(&agent);
        (void)virDomainFree(plain);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
}

/* A domain that started on what was prepared for it while aviommud was away, or did not care: no other start gets that one. */
static void test_used_unseen(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        agent_begin(&agent, f);
        for (unsigned i = 0; i < 2; i++) {
                wait_until(f, count_said("Domain vm-a has a fresh context") == i + 1);
                if (i == 1) {
                        fixture_kill_daemon(f);
                        wait_until(f, count_said("aviommud is gone.") == 1);
                }
                assert_int_equal(virDomainCreate(domain), 0);
                if (i == 1) {
                        fixture_serve_for(f, SEC / 2);
                        fixture_launch_daemon(f);
                        fixture_await_daemon(f);
                }
                wait_until(f, count_said("the context is let go of") == i + 1);
                run_fails(f, "NoPreparedContext", NULL, "Manager", "CreateVm", "sa{sv}", uuid, 2,
                          "tier", "s", "virtio", "prepared", "b", 1);
                assert_int_equal(virDomainDestroy(domain), 0);
        }

        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        wait_until(f, counter(f, "contexts") == 0);
}

/* aviommud, the agent and libvirt are started anew; what is associated is what aviommud would take over. */
static void test_restarts(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid));

        fixture_restart(f);
        wait_until(f, count_said("has a fresh context") == 2);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 3);

        agent_stop(&agent);
        agent_start(&agent);
        wait_until(f, count_said("has a fresh context") == 4);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);
        wait_until(f, count_said("has a fresh context") == 5);

        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("Cannot reach libvirt") == 1);
        assert_int_equal(count_said("The connection to libvirt is lost: it has closed"), 1);
        fixture_serve_for(f, 3 * SEC / 2);
        assert_int_equal(count_said("Cannot reach libvirt"), 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, count_said("has a fresh context") == 6);
        assert_int_equal(count_said("Connected to libvirt: test:///default"), 3);
        admit_on_associated(f, uuid, self);
        vm_destroy_force(f, uuid);

        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
        wait_until(f, counter(f, "contexts") == 0);
}

/* Undefined and defined again before the agent comes to look: to libvirt it is another domain, which has nothing associated. */
static void test_defined_again(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid), other;
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid));

        /* Libvirt is about something else for a while. */
        fake_libvirt_block(true);
        other = define(connection, "vm-b", uuid_of(2));
        wait_until(f, fake_libvirt_is_blocked());
        assert_int_equal(virDomainUndefine(domain), 0);
        fake_libvirt_dissociate(id_of(uuid));
        (void)virDomainFree(domain);
        domain = define(connection, "vm-a", uuid);
        fake_libvirt_block(false);
        wait_until(f, is_associated(uuid));
        wait_until(f, count_said("Domain vm-a has a fresh context") == 2);

        agent_stop(&agent);
        (void)virDomainFree(other);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        wait_until(f, counter(f, "contexts") == 0);
}

/* One that cannot is said so, once, and the rest goes on. */
static void test_unsupported(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr a = define(connection, "vm-a", uuid_of(1));
        virDomainPtr b = define(connection, "vm-b", uuid_of(2));
        AgentThread agent;

        fake_libvirt_lack_associations(true);
        CREATE(f, uuid_of(9), .tier = "virtio", .handover = "none", .leash = "agent");
        agent_begin(&agent, f);
        wait_until(f, count_said("takes no file descriptors") == 1);
        (void)hear(f, "VmRemoved*agent-report*"); /* reports come */
        assert_int_equal(count_said("takes no file descriptors"), 1);
        assert_int_equal(count_said("Cannot associate"), 0);

        agent_stop(&agent);
        (void)virDomainFree(a);
        (void)virDomainFree(b);
        libvirt_end(connection, &agent);
}

/* When there is no more room, it is made of what was prepared for domains that are no more. */
static void test_limit(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr a = define(connection, "vm-a", uuid_of(1));
        virDomainPtr b = define(connection, "vm-b", uuid_of(2)), c;
        AgentThread agent;

        agent_begin(&agent, f);
        wait_until(f, is_associated(uuid_of(1)) && is_associated(uuid_of(2)));
        c = define(connection, "vm-c", uuid_of(3));
        wait_until(f, count_said("There is no context for domain vm-c") == 1);
        assert_false(is_associated(uuid_of(3)));
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("There is no context for domain vm-c"), 1);

        assert_int_equal(virDomainUndefine(b), 0);
        wait_until(f, is_associated(uuid_of(3)));
        wait_until(f, is_associated(uuid_of(1)));
        assert_int_equal(count_said("Taking a new name on the bus"), 1);

        agent_stop(&agent);
        (void)virDomainFree(a);
        (void)virDomainFree(b);
        (void)virDomainFree(c);
        libvirt_end(connection, &agent);
}

/* A call into libvirt that does not return holds up nothing but other calls into libvirt. */
static void test_blocked(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_block(true);
        agent_begin(&agent, f);
        wait_until(f, fake_libvirt_is_blocked());
        fixture_restart(f);
        wait_until(f, count_said("aviommud is gone.") == 1);
        wait_until(f, count_said("aviommud is there.") == 2);
        fake_libvirt_block(false);
        wait_until(f, count_said("has a fresh context") == 1);

        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
}

/* ---- reports ---- */

static void test_reports(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1), *gone = uuid_of(2);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "plain", uuid);
        AgentThread agent;
        char expected[96];

        assert_int_equal(virDomainCreate(domain), 0);
        CREATE(f, uuid, .tier = "virtio", .handover = "none", .leash = "agent");
        CREATE(f, gone, .tier = "virtio", .handover = "none", .leash = "agent");
        agent_begin(&agent, f);
        (void)snprintf(expected, sizeof(expected), "VmRemoved \"%s\"*agent-report*", gone);
        (void)hear(f, expected);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);

        /* Nobody is reported missing by an agent that does not see libvirt. */
        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("Cannot reach libvirt") == 1);
        assert_int_equal(virDomainDestroy(domain), 0);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, vm_count(f) == 0);

        /* aviommud is started anew: it is told anew. */
        assert_int_equal(virDomainCreate(domain), 0);
        fixture_restart(f);
        CREATE(f, uuid, .tier = "virtio", .handover = "none", .leash = "agent");
        CREATE(f, gone, .tier = "virtio", .handover = "none", .leash = "agent");
        wait_until(f, vm_count(f) == 1);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);
        vm_destroy_force(f, uuid);

        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        assert_nothing_left(f);
}

/* ---- devices ---- */

#define HOSTDEV(bus)                                                                               \
        "<hostdev mode='subsystem' type='pci' managed='yes'><driver iommufd='yes'/><source>"       \
        "<address domain='0x0000' bus='" bus "' slot='0x00' function='0x0'/></source></hostdev>"

/* Names functions that are not there at any time, and ids that the tier does not have. */
#define REQUEST                                                                                    \
        "<viommu tier='virtio'><function address='" NIC "' guest-device-id='01:00.0'/>"            \
        "<function address='" NIC2 "' guest-device-id='02:00.0'/></viommu>"

static void test_hotplug(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        CREATE(f, uuid, .tier = "virtio", .handover = "none", .functions = NIC ",managed",
               .leash_pidfd = self);
        assert_int_equal(virDomainCreate(domain), 0);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, REQUEST,
                                              "aviommu", DOMAIN_XMLNS, VIR_DOMAIN_AFFECT_LIVE),
                         0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(count_said("plugged"), 0);

        fake_libvirt_set_devices(HOSTDEV("0x01") HOSTDEV("0x41") HOSTDEV("0x43"));
        fake_libvirt_tell_device(true, "vm-a");
        wait_until(f, has_function(f, uuid, NIC2) && has_function(f, uuid, DISK));
        fake_libvirt_set_devices(HOSTDEV("0x41"));
        fake_libvirt_tell_device(false, "vm-a");
        wait_until(f, !has_function(f, uuid, NIC) && !has_function(f, uuid, DISK));
        assert_true(has_function(f, uuid, NIC2));
        wait_until(f, count_said("was unplugged.") == 2);

        /* What somebody else has is refused, the rest is not, and it is tried again. */
        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none", .functions = NIC,
               .leash_pidfd = self);
        fake_libvirt_set_devices(HOSTDEV("0x41") HOSTDEV("0x01") HOSTDEV("0x43"));
        fake_libvirt_tell_device(true, "vm-a");
        wait_until(f, count_said("PCI function " NIC " was plugged in, and aviommud refuses") == 1);
        wait_until(f, has_function(f, uuid, DISK));
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("aviommud refuses"), 1);
        vm_destroy_force(f, uuid_of(2));
        wait_until(f, has_function(f, uuid, NIC));

        /* While aviommud was away. */
        fixture_kill_daemon(f);
        wait_until(f, count_said("aviommud is gone.") == 1);
        fake_libvirt_set_devices(HOSTDEV("0x41"));
        fake_libvirt_tell_device(false, "vm-a");
        fixture_serve_for(f, SEC / 4);
        fixture_launch_daemon(f);
        fixture_await_daemon(f);
        wait_until(f, !has_function(f, uuid, NIC) && !has_function(f, uuid, DISK));
        assert_true(has_function(f, uuid, NIC2));

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
}

/* ---- domains that aviommud does not know ---- */

static bool shows(Fixture *f, const char *uuid, const char *name, const char *part) {
        _cleanup_free_ char *text = property(f, vm_path(uuid), "Vm", name);

        return strstr(text, part);
}

/* The domain's memory. */
static bool is_pinned(Fixture *f, const char *uuid) {
        return shows(f, uuid, "Charges", "(\"pinned-memory\", \"host\", 8388608)");
}

static void plug(const char *devices) {
        fake_libvirt_set_devices(devices);
        fake_libvirt_tell_device(true, "vm-a");
}

/* It had nothing to be counted at its start, and gets a function while it runs. */
static void test_first_function(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(vm_count(f), 0);

        plug(HOSTDEV("0x01"));
        wait_until(f, vm_count(f) == 1);
        wait_until(f, count_said("vm-a runs with PCI functions, which are counted") == 1);
        assert_property(f, vm_path(uuid), "Vm", "Name", "\"vm-a\"");
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"agent\"");
        assert_property(f, vm_path(uuid), "Vm", "Handover", "\"none\"");
        assert_property(f, vm_path(uuid), "Vm", "Tier", "\"virtio\"");
        assert_true(has_function(f, uuid, NIC));
        assert_true(is_pinned(f, uuid));
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));

        /* Whoever is started anew finds it. */
        fixture_restart(f);
        wait_until(f, count_said("aviommud is there") == 2);
        agent_stop(&agent);
        agent_start(&agent);
        wait_until(f, count_said("aviommud is there") == 3);
        wait_until(f, count_said("Connected to libvirt") == 2);
        fake_libvirt_set_reachable(false);
        wait_until(f, count_said("is lost") == 1);
        fake_libvirt_set_reachable(true);
        wait_until(f, count_said("Connected to libvirt") == 3);
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 1);
        assert_true(has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));
        assert_int_equal(count_said("which are counted"), 1);

        /* Nothing is pinned without a function. */
        plug("");
        wait_until(f, shows(f, uuid, "Functions", "[]"));
        assert_false(shows(f, uuid, "Charges", "pinned"));
        plug(HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
}

/* What is wrong with its request does not hide what it has. */
static void test_bad_request(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, vm_count(f) == 1);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                                              "<viommu tier='fastest'/>", "aviommu", DOMAIN_XMLNS,
                                              VIR_DOMAIN_AFFECT_LIVE),
                         0);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, has_function(f, uuid, DISK));
        assert_true(count_said("The request of domain vm-a is not taken") > 0);
        plug(HOSTDEV("0x43"));
        wait_until(f, !has_function(f, uuid, NIC));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
}

/* On whose account it runs is in its request. */
static void test_first_function_of_tenant(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        assert_int_equal(virDomainSetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT,
                                              "<viommu tier='virtio' tenant='acme'/>", "aviommu",
                                              DOMAIN_XMLNS, VIR_DOMAIN_AFFECT_LIVE),
                         0);
        agent_begin(&agent, f);
        wait_until(f, vm_count(f) == 1);
        assert_property(f, vm_path(uuid), "Vm", "Tenant", "\"acme\"");

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
}

/* Without functions it was admitted, so it has no memory charged. */
static void test_first_function_admitted(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        CREATE(f, uuid, .tier = "virtio", .handover = "none", .leash_pidfd = self);
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        assert_false(shows(f, uuid, "Charges", "pinned"));
        plug(HOSTDEV("0x01"));
        wait_until(f, has_function(f, uuid, NIC));
        assert_true(is_pinned(f, uuid));
        assert_property(f, vm_path(uuid), "Vm", "Leash", "\"pidfd\"");

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
}

/* aviommud refuses, and then another VM has the name. */
static void test_first_function_refused(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;

        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none", .functions = NIC,
               .leash_pidfd = self);
        CREATE(f, uuid_of(3), .tier = "virtio", .handover = "none", .name = "vm-a",
               .leash_pidfd = self);
        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        wait_until(f, count_said("vm-a runs with PCI functions, and aviommud refuses") == 1);
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("aviommud refuses"), 1);
        assert_int_equal(vm_count(f), 2);
        vm_destroy_force(f, uuid_of(2));
        wait_until(f, count_said("which are counted from now on") == 1);
        assert_true(has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        assert_false(shows(f, uuid, "Name", "vm-a"));

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 1);
        vm_destroy_force(f, uuid_of(3));
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
}

/* The hook admits it while the agent is about to. */
static void test_first_function_at_once(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        int self = fixture_pidfd(getpid());
        AgentThread agent;
        Call call;
        bool hook_first;

        assert_int_equal(virDomainCreate(domain), 0);
        agent_begin(&agent, f);
        wait_until(f, count_said("Connected to libvirt") == 1);

        assert_int_equal(vm_count(f), 0);

        /* The agent's question is there first, then the hook's wish, and as a rule the agent's after that. */
        (void)kill(f->daemon_pid, SIGSTOP);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        fixture_serve_for(f, SEC);
        call_start(f, &call,
                   vm_request(f->bus, "CreateVm",
                              &(VmSpec){ uuid, .tier = "virtio", .handover = "none",
                                         .functions = NIC, .leash_pidfd = self }));
        fixture_serve_for(f, SEC / 4);
        (void)kill(f->daemon_pid, SIGCONT);
        call_wait(&call);
        hook_first = streq(call_error(&call), "");
        assert_true(hook_first || streq(call_error(&call), "VmExists"));
        call_done(&call);
        wait_until(f,
                   vm_count(f) == 1 && has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        assert_true(is_pinned(f, uuid));
        assert_property(f, vm_path(uuid), "Vm", "Leash", hook_first ? "\"pidfd\"" : "\"agent\"");
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(count_said("aviommud refuses"), 0);

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        (void)close(self);
}

/* It ends while aviommud is being asked, and the hook has taken all back: only libvirt's word says so, and that comes late. */
static void test_ended_meanwhile(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;
        unsigned n_looks;

        assert_int_equal(virDomainCreate(domain), 0);
        agent_init(&agent, f);
        agent.config.report_usec = 60 * SEC; /* lists of libvirt's would tell, too */
        agent_start(&agent);
        wait_until(f, count_said("Connected to libvirt") == 1);
        wait_until(f, fake_libvirt_count_looks() > 0);
        fixture_serve_for(f, SEC / 4);

        /* Aviommud's answer comes when all is over. */
        (void)kill(f->daemon_pid, SIGSTOP);
        n_looks = fake_libvirt_count_looks();
        plug(HOSTDEV("0x01"));
        wait_until(f, fake_libvirt_count_looks() > n_looks);
        fake_libvirt_be_silent(true);
        assert_int_equal(virDomainDestroy(domain), 0);
        fixture_serve_for(f, SEC / 4);
        (void)kill(f->daemon_pid, SIGCONT);
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("which are counted"), 0);
        assert_int_equal(count_heard(f, "VmAdded*"), 0);
        assert_int_equal(vm_count(f), 0);

        /* A start is no answer to what was asked of the run before. */
        fake_libvirt_be_silent(false);
        n_looks = fake_libvirt_count_looks();
        assert_int_equal(virDomainCreate(domain), 0);
        wait_until(f, vm_count(f) == 1);
        assert_true(has_function(f, uuid, NIC));
        assert_true(fake_libvirt_count_looks() > n_looks + 1);

        assert_int_equal(virDomainDestroy(domain), 0);
        vm_destroy_force(f, uuid);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
        wait_until(f, counter(f, "contexts") == 0);
        assert_nothing_left(f);
}

/* By what is configured of those that ask nothing. */
static void test_first_function_configured(void **state) {
        Fixture *f = *state;
        const char *uuid = uuid_of(1);
        virConnectPtr connection = libvirt_begin();
        virDomainPtr domain = define(connection, "vm-a", uuid);
        AgentThread agent;

        fake_libvirt_set_devices(HOSTDEV("0x01"));
        assert_int_equal(virDomainCreate(domain), 0);
        agent_init(&agent, f);
        agent.config.unasked = UNASKED_IGNORE;
        agent_start(&agent);
        wait_until(f, count_said("Connected to libvirt") == 1);
        plug(HOSTDEV("0x01") HOSTDEV("0x43"));
        fixture_serve_for(f, SEC);
        assert_int_equal(vm_count(f), 0);
        agent_stop(&agent);

        agent.config.unasked = UNASKED_REFUSE;
        agent_start(&agent);
        wait_until(f, vm_count(f) == 1);
        wait_until(f, count_said("vm-a should not run with its PCI functions: ") == 1);
        assert_true(has_function(f, uuid, NIC) && has_function(f, uuid, DISK));
        fixture_serve_for(f, SEC);
        assert_int_equal(count_said("Unasked=refuse"), 1);

        assert_int_equal(virDomainDestroy(domain), 0);
        wait_until(f, vm_count(f) == 0);
        agent_stop(&agent);
        (void)virDomainFree(domain);
        libvirt_end(connection, &agent);
}

/* ---- starts ---- */

static void test_starts(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr wanted = define(connection, "vm-a", uuid_of(1));
        virDomainPtr unwanted = define(connection, "vm-b", uuid_of(2));
        virDomainPtr plain = define(connection, "plain", uuid_of(3));
        AgentThread agent;

        assert_int_equal(virDomainSetAutostart(wanted, 1), 0);
        assert_int_equal(virDomainSetAutostart(plain, 1), 0);
        agent_begin(&agent, f);
        wait_until(f, virDomainIsActive(wanted) == 1);
        wait_until(f, count_said("Started domain vm-a") == 1);
        assert_int_equal(count_said("Starting domain"), 1);
        assert_int_equal(virDomainIsActive(unwanted), 0);
        assert_int_equal(virDomainIsActive(plain), 0);
        assert_true(is_associated(uuid_of(1)));

        /* Once in a boot. */
        assert_int_equal(virDomainDestroy(wanted), 0);
        wait_until(f, count_said("Domain vm-a has a fresh context") == 2);
        agent_stop(&agent);
        assert_int_equal(virDomainSetAutostart(unwanted, 1), 0);
        agent_start(&agent);
        wait_until(f, count_said("Domain vm-a has a fresh context") == 3);
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(virDomainIsActive(wanted), 0);
        assert_int_equal(virDomainIsActive(unwanted), 0);

        agent_stop(&agent);
        (void)virDomainFree(wanted);
        (void)virDomainFree(unwanted);
        (void)virDomainFree(plain);
        libvirt_end(connection, &agent);
}

static void test_starts_none(void **state) {
        Fixture *f = *state;
        virConnectPtr connection = libvirt_begin();
        virDomainPtr marked = define(connection, "vm-a", uuid_of(1));
        AgentThread agent;

        assert_int_equal(virDomainSetAutostart(marked, 1), 0);
        agent_init(&agent, f);
        agent.config.start_domains = false;
        agent_start(&agent);
        wait_until(f, is_associated(uuid_of(1)));
        fixture_serve_for(f, SEC / 2);
        assert_int_equal(virDomainIsActive(marked), 0);

        agent_stop(&agent);
        (void)virDomainFree(marked);
        libvirt_end(connection, &agent);
}

/* ---- the program ---- */

static int notify_socket(Fixture *f, char path[static 96]) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        assert_true(fd >= 0);
        (void)snprintf(path, 96, "%s/notify", f->folder);
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void await_notice(Fixture *f, int fd, const char *part) {
        char text[4096] = "";

        wait_until(f, ({
                           ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

                           if (n > 0)
                                   text[n] = '\0';
                           n > 0 && strstr(text, part);
                   }));
}

static void write_file(const Fixture *f, const char *name, const char *text,
                       char path[static 128]) {
        FILE *file;

        (void)snprintf(path, 128, "%s/%s", f->folder, name);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        assert_int_equal(fclose(file), 0);
}

static pid_t launch(Fixture *f, const char *config, const char *notify) {
        pid_t pid = fixture_fork(f);

        if (pid == 0) {
                char config_option[160], bus_option[160];

                (void)snprintf(config_option, sizeof(config_option), "--config=%s", config);
                (void)snprintf(bus_option, sizeof(bus_option), "--bus=%s", f->address);
                (void)setenv("NOTIFY_SOCKET", notify, 1);
                (void)setenv("RUNTIME_DIRECTORY", f->folder, 1);
                (void)execl(AGENT, AGENT, config_option, bus_option, NULL);
                _exit(127);
        }
        return pid;
}

static int wait_exit(Fixture *f, pid_t pid) {
        int status = 0;

        wait_until(f, waitpid(pid, &status, WNOHANG) == pid);
        for (size_t i = 0; i < ELEMENTSOF(f->children); i++)
                if (f->children[i] == pid)
                        f->children[i] = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The program itself, on a libvirt of its own. */
static void test_program(void **state) {
        static const char node[] =
                "<node><domain type='test'><name>one</name>"
                "<uuid>5ca1ab1e-0000-4000-8000-000000000001</uuid><memory>8192</memory>"
                "<os><type>hvm</type></os></domain></node>";
        Fixture *f = *state;
        char xml[128], config[128], text[512], notify[96];
        int fd = notify_socket(f, notify);
        pid_t pid;

        write_file(f, "node.xml", node, xml);
        (void)snprintf(text, sizeof(text), "[Libvirt]\nUri=test://%s\nReportSec=1\n", xml);
        write_file(f, "libvirt.conf", text, config);
        CREATE(f, uuid_of(1), .tier = "virtio", .handover = "none", .leash = "agent");
        CREATE(f, uuid_of(2), .tier = "virtio", .handover = "none", .leash = "agent");
        pid = launch(f, config, notify);
        await_notice(f, fd, "READY=1");
        await_notice(f, fd, "STATUS=libvirt: test:///");
        (void)hear(f, "VmRemoved*000000000002*agent-report*");
        assert_int_equal(vm_count(f), 1);
        (void)kill(pid, SIGTERM);
        await_notice(f, fd, "STOPPING=1");
        assert_int_equal(wait_exit(f, pid), 0);

        /* A mistake in the configuration, and none at all where one was named. */
        write_file(f, "libvirt.conf", "[Libvirt]\nUri=test:///default\nWhat=ever\n", config);
        assert_int_equal(wait_exit(f, launch(f, config, notify)), 1);
        assert_int_equal(wait_exit(f, launch(f, "/nowhere", notify)), 1);

        /* The bus goes away, and with it what it was there for. */
        write_file(f, "libvirt.conf", "[Libvirt]\nUri=test:///default\n", config);
        pid = launch(f, config, notify);
        await_notice(f, fd, "READY=1");
        vm_destroy_force(f, uuid_of(1));
        fixture_kill_bus(f);
        assert_int_equal(wait_exit(f, pid), 1);
        (void)close(fd);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BUS_TEST(test_contexts),
                BUS_TEST(test_used_unseen, .fdstore_max = 64),
                BUS_TEST(test_defined_again),
                BUS_TEST(test_restarts, .fdstore_max = 64),
                BUS_TEST(test_unsupported),
                BUS_TEST(test_limit, .config = "MaxPreparedContexts=2"),
                BUS_TEST(test_blocked, .fdstore_max = 64),
                BUS_TEST(test_reports, .fdstore_max = 64),
                BUS_TEST(test_hotplug, .fdstore_max = 64),
                BUS_TEST(test_first_function, .fdstore_max = 64),
                BUS_TEST(test_bad_request),
                BUS_TEST(test_first_function_of_tenant, .config = "[Tenant acme]\n"),
                BUS_TEST(test_first_function_admitted),
                BUS_TEST(test_first_function_refused),
                BUS_TEST(test_first_function_at_once),
                BUS_TEST(test_ended_meanwhile),
                BUS_TEST(test_first_function_configured),
                BUS_TEST(test_starts),
                BUS_TEST(test_starts_none),
                BUS_TEST(test_program, .other_exit = true),
        };

        return bus_tests_run(argc, argv, tests);
}
