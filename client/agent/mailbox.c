/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "agent/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd-util.h"

int mailbox_init(Mailbox *box) {
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), r;

        if (fd < 0)
                return negative_errno();
        r = pthread_mutex_init(&box->lock, NULL);
        if (r != 0) {
                (void)fd_close(fd);
                return -r;
        }
        box->fd = fd;
        box->first = NULL;
        box->last = &box->first;
        return 0;
}

void mailbox_done(Mailbox *box, void (*mail_free)(Mail *mail)) {
        Mail *mail = mailbox_take(box);

        while (mail) {
                Mail *next = mail->next;

                mail_free(mail);
                mail = next;
        }
        (void)pthread_mutex_destroy(&box->lock);
        box->fd = fd_close(box->fd);
}

void mailbox_post(Mailbox *box, Mail *mail) {
        const uint64_t one = 1;

        mail->next = NULL;
        (void)pthread_mutex_lock(&box->lock);
        *box->last = mail;
        box->last = &mail->next;
        (void)pthread_mutex_unlock(&box->lock);
        /* It fails only when the counter is full: then it is readable all the same. */
        (void)!write(box->fd, &one, sizeof(one));
}

Mail *mailbox_take(Mailbox *box) {
        Mail *first;
        uint64_t n;

        /* The counter first: what is posted after it makes it readable again. */
        (void)!read(box->fd, &n, sizeof(n));
        (void)pthread_mutex_lock(&box->lock);
        first = box->first;
        box->first = NULL;
        box->last = &box->first;
        (void)pthread_mutex_unlock(&box->lock);
        return first;
}
