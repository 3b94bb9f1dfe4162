/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What one thread hands to another: a list under a lock, and an eventfd that is readable while something is in it. Posting
 * never waits for the reader.
 */

#include <pthread.h>

#include "base/macro.h"

/* The first member of whatever is sent. */
typedef struct Mail Mail;
struct Mail {
        Mail *next;
};

typedef struct Mailbox {
        pthread_mutex_t lock;
        Mail *first, **last;
        int fd; /* to poll for reading */
} Mailbox;

/* Returns 0 or a negative errno; then there is nothing to give back. */
int mailbox_init(Mailbox *box);

/* Frees what is still in it. */
void mailbox_done(Mailbox *box, void (*mail_free)(Mail *mail));

/* Takes @mail. Any thread. */
void mailbox_post(Mailbox *box, Mail *mail);

/* All that is in it, in the order of posting; the caller owns it. NULL: nothing. */
Mail *mailbox_take(Mailbox *box);
