/* SPDX-License-Identifier: MIT */
/* The account of a running recording: see ft_control.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "ft_control.h"

static struct ft_error *read_all(int fd, off_t at, void *data, size_t size)
{
	char *to = data;

	while (size) {
		ssize_t n = pread(fd, to, size, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ft_error_create(FT_ERROR_INPUT, "the collector's account is short");
		to += n;
		at += n;
		size -= (size_t)n;
	}
	return NULL;
}

struct ft_error *ft_watch_read(pid_t pid, struct ft_watch **ret)
{
	struct co_control_answer answer;
	struct co_account account;
	ft_auto_free struct ft_watch *watch = NULL;
	ft_auto_close int fd = -1;
	struct stat st;
	size_t sites;

	FT_TRY(ft_control_ask(pid, CO_CONTROL_WATCH, NULL, &answer, &fd));
	if (fd < 0 || fstat(fd, &st) < 0)
		return ft_error_create(FT_ERROR_INPUT,
				       "no account of process %d: the collector is another version",
				       (int)pid);
	FT_TRY(read_all(fd, 0, &account, sizeof(account)));
	sites = (size_t)st.st_size - sizeof(account);
	if (account.magic != CO_ACCOUNT_MAGIC || account.header_bytes != sizeof(account) ||
	    account.site_bytes != sizeof(watch->sites[0]) ||
	    account.n_sites != sites / sizeof(watch->sites[0]) || sites % sizeof(watch->sites[0]))
		return ft_error_create(FT_ERROR_INPUT,
				       "the account of process %d is another version's", (int)pid);
	watch = malloc(sizeof(*watch) + sites);
	if (!watch)
		return &ft_enomem;
	watch->account = account;
	snprintf(watch->recording, sizeof(watch->recording), "%s", answer.text);
	FT_TRY(read_all(fd, sizeof(account), watch->sites, sites));
	*ret = ft_take(watch);
	return NULL;
}
