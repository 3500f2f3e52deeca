/* SPDX-License-Identifier: MIT */
/* The collector as a process: see co_server.h. */
#include "co_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "co_door.h"
#include "co_drain.h"
#include "co_exit.h"
#include "co_notice.h"
#include "co_past.h"
#include "co_resolver.h"
#include "co_roster.h"
#include "co_sample.h"
#include "co_segment.h"
#include "co_spill.h"
#include "co_write.h"
#include "ft_cleanup.h"
#include "ft_error.h"

/* An image, from its hello until its recording is complete. */
struct entry {
	struct entry *next;
	struct co_session *session; /* a reference */
	pid_t pid;
	int pidfd; /* -1: not to be had, or no longer of interest */
	bool ended;
	char *path; /* NULL when there is no file; a symbolizer has borrowed it at the end */
};

/* What a recording that was closed is resolved for: the end of its image, or a request. */
struct closed {
	struct entry *entry;
	struct co_request *request;
};

/* News of the write thread on its way to the main thread. */
struct item {
	struct item *next;
	enum co_news_kind kind;
	struct co_session *session; /* a reference */
	char *path, *message;
};

struct server {
	struct co_server_options options;
	struct co_spill spill;
	struct co_roster roster;
	struct co_write *write;
	pthread_t drain_thread, write_thread, sample_thread;

	struct entry *entries;
	uint32_t n_running, n_finishing;
	struct co_door door;
	char socket[FT_ADDRESS_BYTES]; /* the name that we listen on */
	struct co_past past;
	/* Where recordings of images go that have become another user: the first image's words. */
	char output[sizeof(((struct co_segment *)NULL)->output)];
	char cwd[sizeof(((struct co_segment *)NULL)->cwd)];
	int64_t idle_since; /* when the last image was done */

	int signal_fd, news_fd;
	pthread_mutex_t news_lock;
	struct item *news, **news_last;
	struct co_request *answers; /* under news_lock, too */
	struct co_resolver resolver;

	struct co_reading first; /* for the rate of the clock */
	int notify_fd;		 /* -1 once the launcher has gone */
	bool exited_seen;
	int32_t exited_pid, exited_status;
	unsigned n_terms;
};

static void say(const struct server *server, const char *what, const char *detail)
{
	if (server->options.verbose)
		fprintf(stderr, "fragtrace-collector: %s%s%s\n", what, detail ? ": " : "",
			detail ? detail : "");
}

/* ---- the launcher ---------------------------------------------------------------------------- */

static void notify(struct server *server, const struct co_notice *notice)
{
	if (server->notify_fd < 0)
		return;
	/* The launcher reads all the time; if it is gone, so be it. */
	if (send(server->notify_fd, notice, sizeof(*notice), MSG_NOSIGNAL) < 0 && errno == EPIPE) {
		close(server->notify_fd);
		server->notify_fd = -1;
	}
}

static void notify_text(struct server *server, enum co_notice_kind kind, pid_t pid,
			const char *text)
{
	struct co_notice notice = {.kind = kind, .pid = pid};

	snprintf(notice.text, sizeof(notice.text), "%s", text ? text : "");
	notify(server, &notice);
}

static void notify_state(struct server *server)
{
	struct co_notice notice = {.kind = CO_NOTICE_STATE,
				   .n_running = server->n_running,
				   .n_finishing = server->n_finishing,
				   .exited_seen = server->exited_seen};

	notify(server, &notice);
}

static void notify_done(struct server *server, const struct entry *entry)
{
	/* The drain thread has let go of the session: its totals are at rest. */
	const struct co_session *session = entry->session;
	const struct co_timeline *timeline = &session->timeline;
	struct co_sums sums = co_session_sums(session);
	struct co_notice notice = {.kind = CO_NOTICE_DONE,
				   .pid = entry->pid,
				   .n_allocs = sums.n_allocs,
				   .n_frees = sums.n_frees,
				   .n_lost = session->counters.n_lost,
				   .n_parts = atomic_load(&entry->session->part) + 1,
				   .peak_bytes = sums.peak_bytes,
				   .live_bytes = co_timeline_live(timeline),
				   .live_blocks = co_timeline_live_blocks(timeline),
				   .sample_bytes = session->segment.sample_bytes,
				   .n_threads = atomic_load(&session->segment.header->n_threads)};

	if (session->segment.options & FT_OPTION_SELF_CHECK) {
		notice.self_check = 1;
		notice.n_checked = atomic_load(&session->segment.header->n_checked);
		notice.n_differences = atomic_load(&session->segment.header->n_differences);
		notice.n_explained = atomic_load(&session->segment.header->n_explained);
	}
	snprintf(notice.text, sizeof(notice.text), "%s", entry->path);
	notify(server, &notice);
}

/* ---- images ---------------------------------------------------------------------------------- */

static void entry_end(struct server *server, struct entry *entry, enum co_end_kind kind, int code)
{
	if (entry->ended)
		return;
	entry->ended = true;
	server->n_running--;
	server->n_finishing++;
	co_past_end(&server->past, entry->session->id);
	co_session_end(entry->session, kind, code);
	co_roster_wake(&server->roster);
	notify_state(server);
}

/* The process is gone: say how, as far as that can be known. */
static void entry_process_ended(struct server *server, struct entry *entry)
{
	enum co_end_kind kind = CO_END_UNKNOWN;
	int status, code = -1;

	if (entry->pid == server->exited_pid) {
		status = server->exited_status;
		kind = WIFSIGNALED(status) ? CO_END_SIGNAL : CO_END_EXIT;
	} else if (co_exit_status(entry->pidfd, entry->pid, &status)) {
		kind = WIFSIGNALED(status) ? CO_END_SIGNAL : CO_END_EXIT;
	}
	if (kind == CO_END_SIGNAL)
		code = WTERMSIG(status);
	else if (kind == CO_END_EXIT)
		code = WEXITSTATUS(status);
	entry_end(server, entry, kind, code);
}

static void entry_remove(struct server *server, struct entry *entry)
{
	for (struct entry **e = &server->entries; *e; e = &(*e)->next)
		if (*e == entry) {
			*e = entry->next;
			break;
		}
	server->n_finishing--;
	if (entry->pidfd >= 0)
		close(entry->pidfd);
	co_session_unref(entry->session);
	free(entry->path);
	free(entry);
	server->idle_since = co_clock_monotonic();
	notify_state(server);
}

static struct entry *entry_of(struct server *server, const struct co_session *session)
{
	struct entry *entry = server->entries;

	while (entry && entry->session != session)
		entry = entry->next;
	return entry;
}

/* Nanoseconds a tick, from the start of the collector until now. */
static double measure_rate(const struct server *server)
{
	struct co_reading now = co_clock_read(FT_CLOCK_TSC);

	return (double)(now.monotonic_ns - server->first.monotonic_ns) /
	       (double)(now.stamp - server->first.stamp);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void answer(const struct co_request *request)
{
	struct co_control_answer answer = {.magic = CO_CONTROL_MAGIC,
					   .failed = request->failed,
					   .n_text = (uint32_t)strlen(request->answer)};
	struct iovec iov = {&answer, sizeof(answer)};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr header;
	} control = {0};

	memcpy(answer.text, request->answer, answer.n_text);
	if (request->result_fd >= 0) {
		control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)),
						  .cmsg_level = SOL_SOCKET,
						  .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.header), &request->result_fd, sizeof(int));
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
	}
	/* It has gone, or it has not: nothing depends on it. */
	if (sendmsg(request->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;
}

/* From the drain and the write thread. */
static void post_answer(void *ctx, struct co_request *request)
{
	struct server *server = ctx;
	uint64_t one = 1;

	pthread_mutex_lock(&server->news_lock);
	request->next = server->answers;
	server->answers = request;
	pthread_mutex_unlock(&server->news_lock);
	if (write(server->news_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it will be read */
}

static struct entry *running_image(struct server *server, pid_t pid);

static void end_request(struct co_request *request)
{
	answer(request);
	close(request->fd);
	if (request->result_fd >= 0)
		close(request->result_fd);
	free(request->closed);
	free(request);
}

/* To the session of its process, with the stamp of now. */
static void ask(struct server *server, struct co_request *request)
{
	struct entry *entry = running_image(server, request->pid);

	if (!entry) {
		co_request_finish(request, "the process has ended, or is no longer recorded");
		return;
	}
	request->stamp = co_clock_stamp(entry->session->segment.clock_source);
	co_request_add(entry->session, request);
	co_roster_wake(&server->roster);
}

static void take_request(struct server *server, struct co_guest *guest)
{
	struct co_request *request = calloc(1, sizeof(*request));
	uint32_t n = guest->request.n_text;

	if (!request)
		return;
	request->fd = guest->fd;
	request->result_fd = -1;
	guest->fd = -1;
	request->pid = guest->host;
	request->verb = (enum co_control_verb)guest->request.verb;
	memcpy(request->label, guest->request.text,
	       n < sizeof(guest->request.text) ? n : sizeof(guest->request.text));
	request->done = post_answer;
	request->ctx = server;
	if (guest->uid != geteuid() && guest->uid != 0)
		co_request_finish(request, "the recording belongs to another user");
	else
		ask(server, request);
}

/* ---- guests ---------------------------------------------------------------------------------- */

static struct entry *running_image(struct server *server, pid_t pid)
{
	for (struct entry *e = server->entries; e; e = e->next)
		if (e->pid == pid && !e->ended)
			return e;
	return NULL;
}

/* The process may be over by now: what images have said of themselves is what counts. */
static struct co_origin find_origin(const struct server *server, const struct co_guest *guest,
				    uint64_t forked_from)
{
	const struct ft_hello *hello = &guest->hello;
	uint64_t id;

	if (forked_from)
		return (struct co_origin){CO_ORIGIN_FORK, forked_from};
	id = co_past_of_process(&server->past, hello->start, guest->pid);
	if (!id)
		id = co_past_of_parent(&server->past, hello->parent_start, hello->stat_parent);
	if (id)
		return (struct co_origin){CO_ORIGIN_EXEC, id};
	return (struct co_origin){CO_ORIGIN_START, 0};
}

/* Tell an image that we don't serve that it need not wait for us. */
static void refuse(struct server *server, const struct co_guest *guest, const char *why)
{
	struct co_segment segment;
	struct ft_error *error = co_segment_map(guest->memfd, &segment);

	say(server, "refused", why);
	if (!error) {
		co_segment_set_attached(&segment, FT_ATTACHED_REFUSED);
		co_segment_unmap(&segment);
	}
	ft_error_destroy(error);
}

static struct ft_error *make_session(struct server *server, const struct co_guest *guest,
				     uint64_t forked_from, struct co_session **ret)
{
	bool is_own = guest->uid == geteuid() || guest->uid == 0;
	struct co_segment segment;

	FT_TRY(co_segment_map(guest->memfd, &segment));
	segment.origin = find_origin(server, guest, forked_from);
	/* We write with our own rights: another user has no say in where. */
	if (!is_own) {
		memcpy(segment.output, server->output, sizeof(segment.output));
		memcpy(segment.cwd, server->cwd, sizeof(segment.cwd));
	} else if (!server->past.n) {
		memcpy(server->output, segment.output, sizeof(segment.output));
		memcpy(server->cwd, segment.cwd, sizeof(segment.cwd));
	}
	return co_session_create(&server->spill, guest->pid, &segment,
				 segment.clock_source == FT_CLOCK_TSC ? measure_rate(server) : 1,
				 ret);
}

static struct ft_error *serve_image(struct server *server, struct co_guest *guest,
				    uint64_t forked_from)
{
	struct entry *entry = calloc(1, sizeof(*entry)), *before;
	struct ft_error *error;

	if (!entry)
		return &ft_enomem;
	entry->pid = guest->pid;
	entry->pidfd = -1;
	error = make_session(server, guest, forked_from, &entry->session);
	if (error) {
		free(entry);
		return error;
	}
	co_past_add(&server->past, &(struct co_past_image){.key = guest->hello.key,
							   .id = entry->session->id,
							   .start = guest->hello.start,
							   .pid = guest->pid,
							   .stat_pid = guest->hello.stat_pid,
							   .runs = true});

	/* An older image of the same process has been replaced by this one. */
	while ((before = running_image(server, entry->pid)))
		entry_end(server, before, CO_END_EXEC, -1);

	if (guest->listener >= 0 &&
	    co_door_add(&server->door, guest->listener, guest->pidfd, guest->pid))
		guest->listener = -1;
	entry->pidfd = guest->pidfd;
	guest->pidfd = -1;
	entry->next = server->entries;
	server->entries = entry;
	server->n_running++;
	memcpy(entry->session->segment.header->socket, server->socket, sizeof(server->socket));
	co_segment_set_attached(&entry->session->segment, FT_ATTACHED_SERVED);
	if (!co_roster_add(&server->roster, entry->session))
		say(server, "out of memory", NULL);
	if (entry->pidfd < 0) /* it has ended already, or the kernel is of before 5.3 */
		entry_process_ended(server, entry);
	notify_state(server);
	return NULL;
}

static void welcome(void *ctx, struct co_guest *guest)
{
	struct server *server = ctx;
	uint64_t forked_from;
	struct ft_error *error;
	char why[64];

	if (!guest->is_image) {
		take_request(server, guest);
		return;
	}
	forked_from = co_past_of_key(&server->past, guest->hello.parent_key);
	if (guest->hello.segment_version != FT_SEGMENT_VERSION) {
		say(server, "refused", "a hello of another build");
		return;
	}
	if (guest->uid != geteuid() && guest->uid != 0 && !forked_from) {
		snprintf(why, sizeof(why), "process %d belongs to another user", (int)guest->pid);
		refuse(server, guest, why);
		return;
	}
	error = serve_image(server, guest, forked_from);
	if (error)
		refuse(server, guest, error->message);
	ft_error_destroy(error);
}

/* ---- news of the write thread ---------------------------------------------------------------- */

static void post_news(void *ctx, const struct co_news *news)
{
	struct server *server = ctx;
	struct item *item = calloc(1, sizeof(*item));
	uint64_t one = 1;

	if (!item)
		return;
	item->kind = news->kind;
	item->session = co_session_ref(news->session);
	item->path = news->path ? strdup(news->path) : NULL;
	item->message = news->message ? strdup(news->message) : NULL;
	pthread_mutex_lock(&server->news_lock);
	*server->news_last = item;
	server->news_last = &item->next;
	pthread_mutex_unlock(&server->news_lock);
	if (write(server->news_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: it will be read */
}

static void resolved(void *ctx, void *arg, bool failed)
{
	struct server *server = ctx;
	struct closed *closed = arg;

	if (closed->entry) {
		if (failed)
			say(server, "symbols could not be resolved", closed->entry->path);
		notify_done(server, closed->entry);
		entry_remove(server, closed->entry);
	} else {
		if (failed)
			say(server, "symbols could not be resolved", closed->request->closed);
		end_request(closed->request);
		server->n_finishing--;
		server->idle_since = co_clock_monotonic();
		notify_state(server);
	}
	free(closed);
}

/* False: there will be no symbols now. */
static bool resolve(struct server *server, struct entry *entry, struct co_request *request)
{
	struct closed *closed = server->options.symbols ? calloc(1, sizeof(*closed)) : NULL;

	if (!closed)
		return false;
	*closed = (struct closed){entry, request};
	if (request) {
		server->n_finishing++;
		notify_state(server);
	}
	co_resolver_add(&server->resolver, entry ? entry->path : request->closed, closed);
	return true;
}

/* Files are this thread's: the drain thread has counted, and knows no name. */
static void name_recording(struct server *server, struct co_request *request)
{
	const struct entry *entry = running_image(server, request->pid);

	snprintf(request->answer, sizeof(request->answer), "%s",
		 entry && entry->path ? entry->path : "");
}

static void send_answers(struct server *server)
{
	struct co_request *request;

	pthread_mutex_lock(&server->news_lock);
	request = server->answers;
	server->answers = NULL;
	pthread_mutex_unlock(&server->news_lock);
	while (request) {
		struct co_request *next = request->next;

		if (request->verb == CO_CONTROL_WATCH && !request->failed)
			name_recording(server, request);
		if (request->prepared && !request->closed && !request->failed)
			ask(server, request);
		else if (!request->closed || request->failed || !resolve(server, NULL, request))
			end_request(request);
		request = next;
	}
}

static void handle_item(struct server *server, const struct item *item)
{
	struct entry *entry = entry_of(server, item->session);

	if (!entry)
		return;
	switch (item->kind) {
	case CO_NEWS_OPENED:
		say(server, "recording", item->path);
		entry->path = item->path ? strdup(item->path) : NULL;
		notify_text(server, CO_NOTICE_OPENED, entry->pid, item->path);
		break;
	case CO_NEWS_ROTATED:
		say(server, "recording", item->path);
		free(entry->path);
		entry->path = item->path ? strdup(item->path) : NULL;
		break;
	case CO_NEWS_FAILED:
		say(server, "no recording", item->message);
		notify_text(server, CO_NOTICE_FAILED, entry->pid, item->message);
		free(entry->path);
		entry->path = NULL;
		break;
	case CO_NEWS_FINISHED:
		/* The sampler may have found out that the image was left. */
		entry_end(server, entry, CO_END_UNKNOWN, -1);
		if (!item->path) {
			free(entry->path);
			entry->path = NULL;
		}
		if (!entry->path) {
			entry_remove(server, entry);
		} else if (!resolve(server, entry, NULL)) {
			notify_done(server, entry);
			entry_remove(server, entry);
		}
		break;
	}
}

static void handle_news(struct server *server)
{
	struct item *item;
	uint64_t n;

	if (read(server->news_fd, &n, sizeof(n)) < 0)
		return;
	send_answers(server);
	pthread_mutex_lock(&server->news_lock);
	item = server->news;
	server->news = NULL;
	server->news_last = &server->news;
	pthread_mutex_unlock(&server->news_lock);
	while (item) {
		struct item *next = item->next;

		handle_item(server, item);
		co_session_unref(item->session);
		free(item->path);
		free(item->message);
		free(item);
		item = next;
	}
}

/* ---- signals and messages -------------------------------------------------------------------- */

static void handle_signals(struct server *server)
{
	struct signalfd_siginfo info;

	while (read(server->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			co_resolver_reap(&server->resolver);
		/* A recording outlives the wish of a terminal; who asks twice means it. */
		if (info.ssi_signo != SIGTERM || ++server->n_terms < 2)
			continue;
		for (struct entry *e = server->entries; e; e = e->next) {
			co_segment_set_attached(&e->session->segment, FT_ATTACHED_REFUSED);
			entry_end(server, e, CO_END_DETACHED, -1);
		}
	}
}

static void handle_launcher(struct server *server)
{
	struct co_notice notice;
	ssize_t n = recv(server->notify_fd, &notice, sizeof(notice), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		close(server->notify_fd);
		server->notify_fd = -1;
		server->idle_since = co_clock_monotonic();
		return;
	}
	if (n != sizeof(notice) || notice.kind != CO_NOTICE_EXITED)
		return;
	server->exited_pid = notice.pid;
	server->exited_status = notice.status;
	server->exited_seen = true;
	/* What has connected before its parent's end is counted before the answer. */
	co_door_accept_all(&server->door);
	for (struct entry *e = server->entries; e; e = e->next)
		if (e->pid == notice.pid && !e->ended)
			entry_process_ended(server, e);
	notify_state(server);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static bool is_done(const struct server *server)
{
	return !server->entries && !server->resolver.jobs && !server->door.n_pending &&
	       server->notify_fd < 0 &&
	       co_clock_monotonic() - server->idle_since >=
		       server->options.linger_ms * INT64_C(1000000);
}

static int poll_timeout(const struct server *server)
{
	if (server->door.n_pending)
		return 100;
	if (server->entries || server->resolver.jobs || server->notify_fd >= 0)
		return 10000;
	return 20;
}

/* All who have connected before the ends that were seen are taken in. The list has children before
 * their parents: they end in that order. */
static void end_the_dead(struct server *server)
{
	co_door_accept_all(&server->door);
	for (struct entry *e = server->entries; e; e = e->next) {
		struct pollfd one = {e->pidfd, POLLIN, 0};

		if (!e->ended && poll(&one, 1, 0) > 0)
			entry_process_ended(server, e);
	}
}

static struct ft_error *serve(struct server *server)
{
	ft_auto_free struct pollfd *polls = NULL;
	unsigned capacity = 0;

	while (!is_done(server)) {
		bool any_ended;
		unsigned n = 0, first_entry, wanted = 3 + co_door_n_polls(&server->door);

		for (struct entry *e = server->entries; e; e = e->next)
			wanted++;
		if (!polls || wanted > capacity) {
			wanted *= 2;

			struct pollfd *grown = realloc(polls, wanted * sizeof(*grown));

			if (!grown)
				return &ft_enomem;
			polls = grown;
			capacity = wanted;
		}
		polls[n++] = (struct pollfd){server->signal_fd, POLLIN, 0};
		polls[n++] = (struct pollfd){server->news_fd, POLLIN, 0};
		polls[n++] = (struct pollfd){server->notify_fd, POLLIN, 0};
		n += co_door_polls(&server->door, polls + n);
		first_entry = n;
		for (struct entry *e = server->entries; e; e = e->next)
			polls[n++] = (struct pollfd){e->ended ? -1 : e->pidfd, POLLIN, 0};

		if (poll(polls, n, poll_timeout(server)) < 0 && errno != EINTR)
			return ft_error_os(errno, "poll");

		/* Who is new first: it may be an ended process in its last image. */
		any_ended = false;
		for (unsigned i = first_entry; i < n; i++)
			any_ended |= polls[i].revents != 0;
		co_door_serve(&server->door, polls + 3);
		if (any_ended)
			end_the_dead(server);
		if (polls[2].revents)
			handle_launcher(server);
		if (polls[1].revents)
			handle_news(server);
		if (polls[0].revents)
			handle_signals(server);
	}
	return NULL;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *drain_main(void *ctx)
{
	co_drain_run(&((struct server *)ctx)->roster);
	return NULL;
}

static void *write_main(void *ctx)
{
	co_write_run(((struct server *)ctx)->write);
	return NULL;
}

static void *sample_main(void *ctx)
{
	co_sample_run(&((struct server *)ctx)->roster);
	return NULL;
}

/* The name of an abstract socket, without the leading NUL. */
static void read_name(int fd, char name[FT_ADDRESS_BYTES])
{
	struct sockaddr_un address = {0};
	socklen_t bytes = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &bytes) == 0 && !address.sun_path[0])
		snprintf(name, FT_ADDRESS_BYTES, "%.*s", (int)(sizeof(address.sun_path) - 1),
			 address.sun_path + 1);
}

static struct ft_error *start_threads(struct server *server)
{
	int rc = pthread_create(&server->drain_thread, NULL, drain_main, server);

	if (rc == 0)
		rc = pthread_create(&server->write_thread, NULL, write_main, server);
	if (rc == 0)
		rc = pthread_create(&server->sample_thread, NULL, sample_main, server);
	if (rc)
		return ft_error_os(rc, "can't start a thread");
	pthread_setname_np(server->drain_thread, "drain");
	pthread_setname_np(server->write_thread, "write");
	pthread_setname_np(server->sample_thread, "sample");
	return NULL;
}

static void stop_threads(struct server *server)
{
	co_roster_stop(&server->roster);
	pthread_join(server->drain_thread, NULL);
	pthread_join(server->sample_thread, NULL);
	co_spill_close(&server->spill);
	pthread_join(server->write_thread, NULL);
}

struct ft_error *co_server_run(const struct co_server_options *options)
{
	struct server server = {.options = *options, .notify_fd = options->notify_fd};
	struct ft_error *error;
	sigset_t signals;

	/* Before the threads: they inherit the mask. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGPIPE);
	sigaddset(&signals, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would hide the ends of symbolizers */

	server.first = co_clock_read(FT_CLOCK_TSC);
	server.idle_since = co_clock_monotonic();
	server.news_last = &server.news;
	server.resolver =
		(struct co_resolver){.self = options->self, .done = resolved, .ctx = &server};
	pthread_mutex_init(&server.news_lock, NULL);
	co_spill_init(&server.spill);
	co_roster_init(&server.roster);
	server.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	server.news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server.signal_fd < 0 || server.news_fd < 0)
		return ft_error_os(errno, "no signalfd or eventfd");
	read_name(options->listen_fd, server.socket);
	server.door.fn = welcome;
	server.door.ctx = &server;
	if (!co_door_add(&server.door, options->listen_fd, -1, 0))
		return &ft_enomem;
	if (options->notify_fd >= 0)
		fcntl(options->notify_fd, F_SETFD, FD_CLOEXEC);

	FT_TRY(co_write_create(&server.spill, post_news, &server, &server.write));
	co_write_set_min_events(server.write, (uint64_t)options->min_events);
	co_write_set_limits(server.write, &(struct ft_limits){.max_bytes = options->max_bytes,
							      .max_age_ns = options->max_age_ns});
	FT_TRY(start_threads(&server));

	error = serve(&server);

	stop_threads(&server);
	handle_news(&server);
	for (struct entry *e = server.entries, *next; e; e = next) {
		next = e->next;
		entry_remove(&server, e);
	}
	co_write_destroy(server.write);
	co_roster_deinit(&server.roster);
	co_spill_deinit(&server.spill);
	pthread_mutex_destroy(&server.news_lock);
	close(server.signal_fd);
	close(server.news_fd);
	co_door_deinit(&server.door);
	if (server.notify_fd >= 0)
		close(server.notify_fd);
	return error;
}
