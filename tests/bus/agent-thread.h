/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The agent in a thread of the test program, what it says, and libvirt's test driver beside it. */

#include <pthread.h>

#include "agent/agent.h"
#include "fake-libvirt.h"
#include "fixture.h"

#define NIC  "0000:01:00.0"
#define NIC2 "0000:41:00.0"
#define DISK "0000:43:00.0"
#define SEC  UINT64_C(1000000)

/* How often the agent has said something that contains @part. */
unsigned count_said(const char *part);

/* ---- the agent ---- */

typedef struct AgentThread {
        Fixture *f;
        LibvirtConfig config;
        char runtime_folder[96];
        pthread_t thread;
        int stop_fd; /* -1: it does not run */
        int result;
} AgentThread;

/* Before agent_start(), for those who configure it. */
void agent_init(AgentThread *a, Fixture *f);
void agent_start(AgentThread *a);
void agent_begin(AgentThread *a, Fixture *f);
void agent_stop(AgentThread *a);

/* ---- libvirt ---- */

virConnectPtr libvirt_begin(void);
void libvirt_end(virConnectPtr connection, AgentThread *a);

/* Stops the agent, and ends what there is of libvirt in a test with one domain. */
void agent_end(AgentThread *a, virConnectPtr connection, virDomainPtr domain);
virDomainPtr define(virConnectPtr connection, const char *name, const char *uuid);
sd_id128_t id_of(const char *uuid);

/* A duplicate, the caller's, of what is associated with a domain; -1: nothing is. */
int associated(const char *uuid);
bool is_associated(const char *uuid); /* with a context */
bool is_dead_end(const char *uuid);   /* with what no VM can start on */
bool is_associated_file(const char *uuid, int fd);
bool same_file(int a, int b);

/* What the hook does when the VM starts, and what QEMU would get; the VM's context is what is associated. */
void admit_on_associated(Fixture *f, const char *uuid, int self);
bool has_function(Fixture *f, const char *uuid, const char *function);
