/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent-thread.h"

#include <linux/kcmp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "base/log.h"

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

unsigned count_said(const char *part) {
        unsigned n = 0;

        (void)pthread_mutex_lock(&log_lock);
        for (const char *p = log_text; (p = strstr(p, part)); p += strlen(part))
                n++;
        (void)pthread_mutex_unlock(&log_lock);
        return n;
}

/* ---- the agent ---- */

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

void agent_init(AgentThread *a, Fixture *f) {
        *a = (AgentThread){ .f = f, .stop_fd = -1 };
        libvirt_config_init(&a->config);
        a->config.uri = strdup("test:///default");
        assert_non_null(a->config.uri);
        a->config.report_usec = SEC / 4;
        (void)snprintf(a->runtime_folder, sizeof(a->runtime_folder), "%s/agent", f->folder);
        assert_int_equal(mkdir(a->runtime_folder, 0700), 0);
}

void agent_start(AgentThread *a) {
        a->stop_fd = eventfd(0, EFD_CLOEXEC);
        assert_true(a->stop_fd >= 0);
        assert_int_equal(pthread_create(&a->thread, NULL, run_agent, a), 0);
}

void agent_begin(AgentThread *a, Fixture *f) {
        agent_init(a, f);
        agent_start(a);
}

void agent_stop(AgentThread *a) {
        const uint64_t one = 1;

        assert_int_equal(write(a->stop_fd, &one, sizeof(one)), sizeof(one));
        assert_int_equal(pthread_join(a->thread, NULL), 0);
        (void)close(a->stop_fd);
        assert_int_equal(a->result, 0);
}

/* ---- libvirt ---- */

virConnectPtr libvirt_begin(void) {
        virConnectPtr connection;

        fake_libvirt_reset();
        log_text[0] = '\0';
        /* Domains of the test driver live as long as somebody is connected. */
        connection = virConnectOpen("test:///default");
        assert_non_null(connection);
        return connection;
}

void libvirt_end(virConnectPtr connection, AgentThread *a) {
        libvirt_config_done(&a->config);
        (void)virConnectClose(connection);
        fake_libvirt_reset();
}

void agent_end(AgentThread *a, virConnectPtr connection, virDomainPtr domain) {
        agent_stop(a);
        (void)virDomainFree(domain);
        libvirt_end(connection, a);
}

virDomainPtr define(virConnectPtr connection, const char *name, const char *uuid) {
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

sd_id128_t id_of(const char *uuid) {
        sd_id128_t id;

        assert_true(sd_id128_from_string(uuid, &id) >= 0);
        return id;
}

int associated(const char *uuid) {
        return fake_libvirt_get_associated(id_of(uuid));
}

/* The dead end is a character device; no context is. */
static bool is_associated_with(const char *uuid, bool dead_end) {
        _cleanup_close_ int fd = associated(uuid);
        struct stat st;

        return fd >= 0 && fstat(fd, &st) >= 0 && S_ISCHR(st.st_mode) == dead_end;
}

bool is_associated(const char *uuid) {
        return is_associated_with(uuid, false);
}

bool is_dead_end(const char *uuid) {
        return is_associated_with(uuid, true);
}

bool same_file(int a, int b) {
        return syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, a, b) == 0;
}

bool is_associated_file(const char *uuid, int fd) {
        _cleanup_close_ int other = associated(uuid);

        return same_file(fd, other);
}

void admit_on_associated(Fixture *f, const char *uuid, int self) {
        int context;

        CREATE(f, uuid, .tier = "virtio", .handover = "vmm", .leash_pidfd = self);
        context = vm_open_context(f, uuid, NULL);
        assert_true(is_associated_file(uuid, context));
        (void)close(context);
}

static char *functions_of(Fixture *f, const char *uuid) {
        return property(f, vm_path(uuid), "Vm", "Functions");
}

bool has_function(Fixture *f, const char *uuid, const char *function) {
        _cleanup_free_ char *text = functions_of(f, uuid);

        return strstr(text, function);
}
