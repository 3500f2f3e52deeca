/* SPDX-License-Identifier: MIT */
/*
 * Jobs in a worker process
 *
 * libdw is careful, but it parses megabytes of untrusted structure in C. The worker reads the ELF
 * files and sends frames through a pipe; this side owns the recording. When the worker dies on a
 * module, the module is given up and a new worker goes on with the next; when it is late, it is
 * killed. What it sends is checked like any other input.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ft_cleanup.h"
#include "ft_strbuf.h"
#include "jobs.h"

enum { FLUSH_BYTES = 64 * 1024 };

/* Compressed debug sections are unpacked into memory; a bomb must not take the machine with it. */
#define WORKER_MAX_DATA_BYTES (UINT64_C(4) << 30)

enum message_kind { MESSAGE_FRAME = 1, MESSAGE_END = 2 };

/* Followed by the function's and the file's text. */
struct message {
	uint32_t kind;
	uint32_t job;
	uint64_t offset;
	uint32_t depth, line;
	uint32_t function_len, file_len; /* UINT32_MAX: none */
	struct ft_job_end end;
};

/* ---- worker ---------------------------------------------------------------------------------- */

struct sender {
	int fd;
	const struct ft_job *jobs;
	struct ft_strbuf out;
};

static struct ft_error *flush(struct sender *sender)
{
	if (sender->out.failed)
		return &ft_enomem;
	for (size_t done = 0; done < sender->out.len;) {
		ssize_t n = write(sender->fd, sender->out.data + done, sender->out.len - done);
		if (n < 0 && errno != EINTR)
			return ft_error_os(errno, "cannot write to the pipe");
		if (n > 0)
			done += (size_t)n;
	}
	ft_strbuf_clear(&sender->out);
	return NULL;
}

static uint32_t text_length(const char *text)
{
	return text ? (uint32_t)strlen(text) : UINT32_MAX;
}

static struct ft_error *send_frame(void *ctx, const struct ft_job *job, uint64_t offset,
				   uint32_t depth, const struct ft_frame *frame)
{
	struct sender *sender = ctx;
	struct message message = {
		.kind = MESSAGE_FRAME,
		.job = (uint32_t)(job - sender->jobs),
		.offset = offset,
		.depth = depth,
		.line = frame->line,
		.function_len = text_length(frame->function),
		.file_len = text_length(frame->file),
	};

	ft_strbuf_add(&sender->out, &message, sizeof(message));
	if (frame->function)
		ft_strbuf_adds(&sender->out, frame->function);
	if (frame->file)
		ft_strbuf_adds(&sender->out, frame->file);
	return sender->out.len >= FLUSH_BYTES ? flush(sender) : NULL;
}

static struct ft_error *send_end(void *ctx, const struct ft_job *job, const struct ft_job_end *end)
{
	struct sender *sender = ctx;
	struct message message = {
		.kind = MESSAGE_END,
		.job = (uint32_t)(job - sender->jobs),
		.function_len = UINT32_MAX,
		.file_len = UINT32_MAX,
		.end = *end,
	};

	ft_strbuf_add(&sender->out, &message, sizeof(message));
	return flush(sender);
}

/* Bound what the worker may add to what it was forked with (a sanitizer's shadow is terabytes). */
static void limit_memory(void)
{
	ft_auto_fclose FILE *statm = fopen("/proc/self/statm", "re");
	uint64_t data_pages;
	if (!statm || fscanf(statm, "%*u %*u %*u %*u %*u %" SCNu64, &data_pages) != 1)
		return;
	rlim_t limit =
		(rlim_t)(data_pages * (uint64_t)sysconf(_SC_PAGESIZE) + WORKER_MAX_DATA_BYTES);
	setrlimit(RLIMIT_DATA, &(struct rlimit){limit, limit});
}

static _Noreturn void work(int fd, const struct ft_job *jobs, size_t first, size_t n,
			   const struct ft_job_settings *settings)
{
	/* A crash here is an expected outcome: no handler of the parent's, no core file. */
	static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTERM, SIGINT};
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	limit_memory();
	if (settings->nice)
		setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + settings->nice);

	struct sender sender = {.fd = fd, .jobs = jobs};
	ft_strbuf_init(&sender.out);
	struct ft_job_sink sink = {.frame = send_frame, .end = send_end, .ctx = &sender};
	struct ft_error *error = ft_jobs_run(jobs + first, n - first, settings, &sink);
	_exit(error ? 1 : 0);
}

/* ---- this side ------------------------------------------------------------------------------- */

enum receive_status { RECEIVE_MORE, RECEIVE_CLOSED, RECEIVE_LATE, RECEIVE_NONSENSE };

struct receiver {
	int fd;
	double deadline;
	const struct ft_job *jobs;
	size_t n;
	size_t current; /* the job that is being reported */
	const struct ft_job_sink *sink;
	struct ft_strbuf in;
	size_t taken; /* of `in` */
};

static enum receive_status receive_some(struct receiver *receiver)
{
	for (;;) {
		double left = receiver->deadline - ft_monotonic_seconds();
		if (left <= 0)
			return RECEIVE_LATE;
		struct pollfd wait = {.fd = receiver->fd, .events = POLLIN};
		int ready = poll(&wait, 1, left > 1 ? 1000 : (int)(left * 1000) + 1);
		if (ready <= 0)
			continue;
		void *room = ft_strbuf_reserve(&receiver->in, FLUSH_BYTES);
		if (!room)
			return RECEIVE_NONSENSE;
		ssize_t n = read(receiver->fd, room, FLUSH_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return RECEIVE_CLOSED;
		receiver->in.len += (size_t)n;
		return RECEIVE_MORE;
	}
}

/* Take `len` characters of the input as text of their own; NULL and no harm for UINT32_MAX. */
static char *take_text(struct receiver *receiver, uint32_t len)
{
	if (len == UINT32_MAX)
		return NULL;
	char *text = strndup(receiver->in.data + receiver->taken, len);
	receiver->taken += len;
	return text;
}

static size_t text_bytes(uint32_t len)
{
	return len == UINT32_MAX ? 0 : len;
}

/* Pass on the messages that are complete. *nonsense: the worker is out of its mind. */
static struct ft_error *pass_on(struct receiver *receiver, bool *nonsense)
{
	struct message message;

	while (receiver->in.len - receiver->taken >= sizeof(message)) {
		memcpy(&message, receiver->in.data + receiver->taken, sizeof(message));
		size_t texts = text_bytes(message.function_len) + text_bytes(message.file_len);
		if (message.job != receiver->current || receiver->current >= receiver->n ||
		    text_bytes(message.function_len) > FT_SYMBOL_NAME_MAX ||
		    text_bytes(message.file_len) > FT_SYMBOL_NAME_MAX) {
			*nonsense = true;
			return NULL;
		}
		if (receiver->in.len - receiver->taken < sizeof(message) + texts)
			break;
		receiver->taken += sizeof(message);

		const struct ft_job *job = &receiver->jobs[message.job];
		ft_auto_free char *function = take_text(receiver, message.function_len);
		ft_auto_free char *file = take_text(receiver, message.file_len);
		if (message.kind == MESSAGE_END) {
			receiver->current++;
			FT_TRY(receiver->sink->end(receiver->sink->ctx, job, &message.end));
			continue;
		}
		struct ft_frame frame = {.function = function, .file = file, .line = message.line};
		FT_TRY(receiver->sink->frame(receiver->sink->ctx, job, message.offset,
					     message.depth, &frame));
	}
	size_t rest = receiver->in.len - receiver->taken;
	if (rest)
		memmove(receiver->in.data, receiver->in.data + receiver->taken, rest);
	receiver->in.len = rest;
	receiver->taken = 0;
	return NULL;
}

/* One worker's life. *status says how its messages ended. */
static struct ft_error *supervise(struct receiver *receiver, const struct ft_job_settings *settings,
				  enum receive_status *status)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return ft_error_os(errno, "cannot make a pipe for the symbol worker");
	pid_t pid = fork();
	if (pid < 0) {
		int saved = errno;
		close(ends[0]);
		close(ends[1]);
		return ft_error_os(saved, "cannot start the symbol worker");
	}
	if (pid == 0) {
		close(ends[0]);
		work(ends[1], receiver->jobs, receiver->current, receiver->n, settings);
	}
	close(ends[1]);

	struct ft_error *error = NULL;
	bool nonsense = false;
	receiver->fd = ends[0];
	receiver->taken = 0;
	ft_strbuf_clear(&receiver->in);
	do {
		*status = receive_some(receiver);
		if (*status == RECEIVE_MORE)
			error = pass_on(receiver, &nonsense);
	} while (*status == RECEIVE_MORE && !error && !nonsense);
	if (nonsense)
		*status = RECEIVE_NONSENSE;

	close(ends[0]);
	if (error || *status != RECEIVE_CLOSED)
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return error;
}

struct ft_error *ft_jobs_run_isolated(const struct ft_job *jobs, size_t n,
				      const struct ft_job_settings *settings,
				      const struct ft_job_sink *sink)
{
	struct receiver receiver = {
		.deadline = settings->deadline, .jobs = jobs, .n = n, .sink = sink};
	struct ft_error *error = NULL;

	ft_strbuf_init(&receiver.in);
	while (receiver.current < n && !error) {
		enum receive_status status = RECEIVE_CLOSED;
		error = supervise(&receiver, settings, &status);
		if (error || receiver.current >= n || ft_monotonic_seconds() >= settings->deadline)
			break;
		/* It died, or talked nonsense, over the current job. */
		struct ft_job_end end = {.status = FT_OBJECT_DAMAGED};
		error = sink->end(sink->ctx, &jobs[receiver.current++], &end);
	}
	ft_strbuf_deinit(&receiver.in);
	return error;
}
