/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The hook's program, run as libvirt runs it, with a domain's XML on stdin; and processes that look like QEMU. */

#include "fixture.h"

#define NIC   "0000:41:00.0"
#define DISK  "0000:42:00.0"
#define OTHER "0000:44:00.0" /* on the host's driver */

#define NAME "demo"
#define SEC  UINT64_C(1000000)
/* When TimeoutSec= is 1, on a machine that is busy with other things too. */
#define LIMIT_USEC (5 * SEC / 2)
#define XMLNS      "https://aviommu.org/xmlns/domain/1"
#define CONTEXT    "<iommufd enabled='yes' fdgroup='aviommu'/>"

/* ---- domains ---- */

typedef struct DomainSpec {
        const char *tier;     /* that is asked for; NULL: nothing is */
        const char *also;     /* attributes of the request */
        const char *inside;   /* elements of the request */
        const char *iommu;    /* its model; NULL: none */
        const char *function; /* a PCI hostdev; NULL: none */
        const char
                *interface; /* a PCI function that libvirt has taken from a network; NULL: none */
        const char *extra;  /* elements of the domain */
        const char *name;   /* NULL: NAME */
        uint64_t mib;
} DomainSpec;

extern const DomainSpec asking, unasking;

/* As libvirt gives it, of VM uuid_of(1); free() it. */
char *domain_xml(const DomainSpec *d);

/* ---- files ---- */

/* The path of a file in the fixture's folder, good for a while. */
const char *file_in(const Fixture *f, const char *name);
void write_text(const char *path, const char *text);

/* Lines of [Libvirt] in libvirt.conf. */
void configure(Fixture *f, const char *lines);

/* A file without a name that holds @text; the caller closes it. */
int text_fd(const char *text);

/* ---- the hook ---- */

typedef struct HookRun {
        pid_t pid;
        uint64_t start_usec, usec;
        int stdout_fd, stderr_fd;
        int code;
        char out[256], err[4096];
} HookRun;

/* Starts a program; NULL at the end of @arguments. @uid: 0 for oneself. */
void program_start(Fixture *f, HookRun *run, const char *program, int stdin_fd, uid_t uid,
                   char **arguments);
void hook_start(Fixture *f, HookRun *run, int stdin_fd, uid_t uid, char **arguments);
void hook_begin_as(Fixture *f, HookRun *run, const DomainSpec *d, uid_t uid, const char *operation,
                   const char *suboperation, const char *extra);

/* Waits for its end. A hook that is ended by a signal is a failure of the test. */
void hook_wait(Fixture *f, HookRun *run);
HookRun hook_run(Fixture *f, const DomainSpec *d, const char *operation, const char *suboperation,
                 const char *extra);

#define PREPARE(f, d)    hook_run((f), (d), "prepare", "begin", "-")
#define START(f, d)      hook_run((f), (d), "start", "begin", "-")
#define STARTED(f, d)    hook_run((f), (d), "started", "begin", "-")
#define RECONNECT(f, d)  hook_run((f), (d), "reconnect", "begin", "-")
#define STOPPED(f, d)    hook_run((f), (d), "stopped", "end", "-")
#define RELEASE(f, d, r) hook_run((f), (d), "release", "end", (r))

void assert_runs(HookRun run);

/* @pattern: as for fnmatch(3), of the whole of stderr. */
void assert_says(HookRun run, int code, const char *pattern);
void assert_vm(Fixture *f, const char *name, const char *value);

/* ---- QEMU ---- */

void write_pid(Fixture *f, const char *name, const char *text);
void write_pid_of(Fixture *f, pid_t pid);

/* A process with the arguments of QEMU: the test's own program, whose main() calls hook_be_qemu() first. */
pid_t qemu_with(Fixture *f, const char *name, const char *uuid);
pid_t qemu_start(Fixture *f);
void hook_be_qemu(int argc, char **argv);
