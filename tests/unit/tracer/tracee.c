/* SPDX-License-Identifier: MIT */
/* Run a program under the tracer: see tracee.h. */
#include "tracee.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ft_hello.h"

static int listen_on(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	ck_assert_int_ge(fd, 0);
	memcpy(address.sun_path + 1, name, strlen(name));
	ck_assert_int_eq(
		bind(fd, (struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))),
		0);
	ck_assert_int_eq(listen(fd, 64), 0);
	return fd;
}

static bool accept_one(struct tracee *tracee, int listener, const struct tracee_options *options)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), segment_fd = -1;
	struct ft_hello hello;
	struct iovec data = {.iov_base = &hello, .iov_len = sizeof(hello)};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct stat st;

	if (fd < 0)
		return false;
	ck_assert_int_eq(recvmsg(fd, &message, MSG_CMSG_CLOEXEC), sizeof(hello));
	close(fd);
	ck_assert_uint_eq(hello.magic, FT_HELLO_MAGIC);
	ck_assert_uint_eq(hello.segment_version, FT_SEGMENT_VERSION);
	ck_assert_ptr_nonnull(CMSG_FIRSTHDR(&message));
	memcpy(&segment_fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	ck_assert_int_eq(fcntl(segment_fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	ck_assert_int_eq(fstat(segment_fd, &st), 0);

	struct tracee_segment *segment = calloc(1, sizeof(*segment));

	segment->pid = hello.pid;
	segment->bytes = (size_t)st.st_size;
	segment->header = mmap(NULL, segment->bytes, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_NORESERVE, segment_fd, 0);
	close(segment_fd);
	ck_assert_ptr_ne(segment->header, MAP_FAILED);
	ck_assert_uint_eq(segment->header->magic, FT_SEGMENT_MAGIC);
	ck_assert_uint_eq(segment->header->size, segment->bytes);
	ck_assert_int_eq(segment->header->pid, hello.pid);
	segment->consumers = calloc(segment->header->n_rings, sizeof(*segment->consumers));
	segment->threads = calloc(segment->header->n_rings, sizeof(*segment->threads));
	ck_assert_uint_lt(tracee->n_segments,
			  sizeof(tracee->segments) / sizeof(tracee->segments[0]));
	tracee->segments[tracee->n_segments++] = segment;
	if (!options->never_attach)
		atomic_store(&segment->header->attached, FT_ATTACHED_SERVED);
	return true;
}

static void accept_all(struct tracee *tracee, int listener, const struct tracee_options *options)
{
	while (accept_one(tracee, listener, options))
		;
}

static void keep(struct tracee_segment *segment, uint32_t ring, const uint64_t *words, unsigned n)
{
	if (segment->n_records == segment->capacity) {
		segment->capacity = segment->capacity ? 2 * segment->capacity : 4096;
		segment->records =
			realloc(segment->records, segment->capacity * sizeof(*segment->records));
	}

	struct record *record = &segment->records[segment->n_records++];

	if (ft_wire_type(words[0]) == FT_WIRE_THREAD)
		segment->threads[ring] = (uint32_t)words[5];
	if (!segment->threads[ring])
		ck_abort_msg("a record comes before its thread");
	record->ring = ring;
	record->thread = segment->threads[ring];
	record->n = n;
	record->words = malloc(n * sizeof(*words));
	memcpy(record->words, words, n * sizeof(*words));
}

static void drain(struct tracee_segment *segment)
{
	struct ft_segment_header *h = segment->header;
	uint32_t n = atomic_load(&h->n_rings_used);

	atomic_fetch_add(&h->heartbeat, 1);
	for (; segment->n_consumers < n; segment->n_consumers++) {
		uint32_t i = segment->n_consumers;

		ft_ring_consumer_init(
			&segment->consumers[i],
			(struct ft_ring_header *)(void *)((char *)h + h->rings_at) + i,
			(uint64_t *)(void *)((char *)h + h->bodies_at + i * h->ring_bytes),
			h->ring_bytes);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct ft_ring_consumer *consumer = &segment->consumers[i];
		uint64_t words[FT_WIRE_MAX_WORDS];
		unsigned got;

		while ((got = ft_ring_read(consumer, words)) > 0)
			keep(segment, i, words, got);
		if (consumer->broken)
			ck_abort_msg("a ring makes no sense");
		if (ft_ring_release(consumer))
			syscall(SYS_futex, &consumer->header->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct tracee *tracee_run(const char *const argv[], const struct tracee_options *options)
{
	static const struct tracee_options plain = {0};
	static unsigned n_runs;
	struct tracee *tracee = calloc(1, sizeof(*tracee));
	char name[64];
	int out[2];

	if (!options)
		options = &plain;
	snprintf(name, sizeof(name), "fragtrace-test-%d-%u", getpid(), n_runs++);

	int listener = listen_on(name);
	double start = now();

	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);

	pid_t pid = fork();

	if (pid == 0) {
		if (!options->no_socket)
			setenv(FT_ENV_SOCKET, name, 1);
		setenv("LD_PRELOAD", TRACER_PATH, 1);
		for (char *const *e = options->environment; e && *e; e++)
			putenv(*e);
		/* The program shall see its own descriptors only. */
		close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
		dup2(out[1], 1);
		dup2(out[1], 2);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(out[1]);
	fcntl(out[0], F_SETFL, O_NONBLOCK);

	for (bool ended = false, last = false; !last;) {
		last = ended; /* one more look after the end sees everything */
		accept_all(tracee, listener, options);
		for (size_t i = 0; i < tracee->n_segments; i++) {
			if (options->stop_after_ms && !ended &&
			    now() - start > options->stop_after_ms / 1e3)
				continue;
			if (options->stop_reading && !ended)
				atomic_fetch_add(&tracee->segments[i]->header->heartbeat, 1);
			else if (!options->never_attach || ended)
				drain(tracee->segments[i]);
		}

		ssize_t got = read(out[0], tracee->output + tracee->n_output,
				   sizeof(tracee->output) - 1 - tracee->n_output);

		if (got > 0)
			tracee->n_output += (size_t)got;
		if (!ended && waitpid(pid, &tracee->status, WNOHANG) == pid)
			ended = true;
		if (got <= 0 && !ended)
			usleep(options->pause_us ? options->pause_us : 200);
	}
	/* Children may still be at work; the pipe ends with the last of them. */
	for (int idle = 0; idle < 5000;) {
		ssize_t got = read(out[0], tracee->output + tracee->n_output,
				   sizeof(tracee->output) - 1 - tracee->n_output);

		if (got == 0)
			break;
		if (got > 0)
			tracee->n_output += (size_t)got;
		else
			idle++;
		accept_all(tracee, listener, options);
		for (size_t i = 0; i < tracee->n_segments; i++)
			drain(tracee->segments[i]);
		usleep(1000);
	}
	accept_all(tracee, listener, options);
	for (size_t i = 0; i < tracee->n_segments; i++)
		drain(tracee->segments[i]);
	tracee->seconds = now() - start;
	tracee->output[tracee->n_output] = '\0';
	close(out[0]);
	close(listener);
	return tracee;
}

void tracee_free(struct tracee *tracee)
{
	for (size_t i = 0; i < tracee->n_segments; i++) {
		struct tracee_segment *segment = tracee->segments[i];

		for (size_t k = 0; k < segment->n_records; k++)
			free(segment->records[k].words);
		free(segment->records);
		free(segment->consumers);
		free(segment->threads);
		munmap(segment->header, segment->bytes);
		free(segment);
	}
	free(tracee);
}

uint64_t tracee_number(const struct tracee *tracee, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = tracee->output; line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, name, n) == 0 && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 16);
	}
	ck_abort_msg("the program did not print \"%s\"; it printed:\n%s", name, tracee->output);
	return 0;
}

uint64_t record_address(const struct record *record)
{
	unsigned at = ft_wire_type(record->words[0]) == FT_WIRE_REALLOC ? 4 : 2;

	return record->words[at] & ((UINT64_C(1) << FT_WIRE_ADDRESS_BITS) - 1);
}

uint64_t record_usable(const struct record *record)
{
	unsigned at = ft_wire_type(record->words[0]) == FT_WIRE_REALLOC ? 4 : 2;
	uint64_t extra = record->words[at] >> FT_WIRE_ADDRESS_BITS;

	return extra == FT_WIRE_EXTRA_ESCAPE ? record->words[at + 2]
					     : record->words[at + 1] + extra;
}

size_t tracee_find(const struct tracee_segment *segment, size_t from, enum ft_wire_type type,
		   uint64_t address)
{
	for (size_t i = from; i < segment->n_records; i++)
		if (ft_wire_type(segment->records[i].words[0]) == type &&
		    (!address || record_address(&segment->records[i]) == address))
			return i;
	return SIZE_MAX;
}

static const struct ft_segment_node *nodes(const struct tracee_segment *segment)
{
	return (const void *)((const char *)segment->header + segment->header->nodes_at);
}

bool tracee_through(const struct tracee_segment *segment, const struct record *record,
		    uint64_t start, uint64_t bytes)
{
	for (uint32_t id = ft_wire_upper(record->words[0]); id; id = nodes(segment)[id].parent)
		if (nodes(segment)[id].pc - start < bytes)
			return true;
	return false;
}

unsigned tracee_depth(const struct tracee_segment *segment, const struct record *record)
{
	return nodes(segment)[ft_wire_upper(record->words[0])].depth;
}
