/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the thread tells. */

#include "agent/libvirt-private.h"

#include "base/log.h"

News *libvirt_news(NewsKind kind, unsigned connection) {
        News *news = new0(News, 1);

        if (!news) {
                log_msg(LOG_ERR, "Not enough memory for news of libvirt.");
                return NULL;
        }
        *news = (News){ .kind = kind, .connection = connection };
        return news;
}

void libvirt_tell(Libvirt *lv, News *news) {
        if (news)
                mailbox_post(&lv->news, &news->mail);
}

News *news_next(const News *news) {
        return (News *)(void *)news->mail.next;
}

static void facts_done(DomainFacts *facts) {
        for (size_t i = 0; i < facts->n_functions; i++)
                free(facts->functions[i].alias);
        free(facts->functions);
        free(facts->name);
        free(facts->unreadable);
        free(facts->bad_request);
}

News *news_free(News *news) {
        if (!news)
                return NULL;
        facts_done(&news->facts);
        free(news->uuids);
        free(news->text);
        free(news);
        return NULL;
}
