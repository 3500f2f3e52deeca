/* SPDX-License-Identifier: MIT */
/* What a reader says of recordings that are finished, live, ending, or whose writer died. */
#include "store_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "ft_reader.h"
#include "ft_writer.h"

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* A writer in a process of its own. It says one byte on `fd` when it has committed, waits for one,
 * and then does what `end` says. */
enum ending { END_FINISH, END_KILLED, END_LATE };

struct other {
	pid_t pid;
	int from, to;
};

static struct other start_writer(const char *path, uint64_t n_events, enum ending end)
{
	int from[2], to[2];
	char byte = 0;

	ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);

	struct other other = {.pid = fork(), .from = from[0], .to = to[1]};

	if (other.pid == 0) {
		struct synth *synth = synth_create(&(struct synth_options){.seed = 4});
		struct ft_writer *writer;

		if (ft_writer_create(path, &writer))
			_exit(1);
		write_stacks(writer, synth);
		write_events(writer, synth, n_events);
		ok(ft_writer_commit(writer, true));
		if (end == END_LATE)
			ok(ft_writer_set_ending(writer));
		if (write(from[1], "c", 1) != 1 || read(to[0], &byte, 1) != 1)
			_exit(1);
		if (end == END_LATE)
			sleep_ms(300);
		write_events(writer, synth, 1000);
		if (ft_writer_finish(writer))
			_exit(1);
		_exit(0);
	}
	close(from[1]);
	close(to[0]);
	ck_assert_int_eq(read(other.from, &byte, 1), 1);
	return other;
}

static void go_on(struct other *other)
{
	ck_assert_int_eq(write(other->to, "g", 1), 1);
}

static void wait_for(struct other *other, int *status)
{
	ck_assert_int_eq(waitpid(other->pid, status, 0), other->pid);
	close(other->from);
	close(other->to);
}

/* One plain file, without -wal and -shm. */
static bool is_alone(const char *path)
{
	char wal[80], shm[80];

	snprintf(wal, sizeof(wal), "%s-wal", path);
	snprintf(shm, sizeof(shm), "%s-shm", path);
	return access(path, F_OK) == 0 && access(wal, F_OK) != 0 && access(shm, F_OK) != 0;
}

START_TEST(nothing_is_overwritten)
{
	const char *path = fresh_path();
	struct ft_writer *writer;

	make_recording(path, &(struct synth_options){.seed = 1}, 10);

	struct ft_error *error = ft_writer_create(path, &writer);

	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_OS);
	ck_assert_int_eq(error->os_errno, EEXIST);
	ft_error_destroy(error);
	unlink(path);
}
END_TEST

START_TEST(finished_recording_is_one_private_file)
{
	const char *path = fresh_path();
	struct ft_reader *reader;
	struct stat st;

	make_recording(path, &(struct synth_options){.seed = 1}, 100000);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert(is_alone(path));
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_COMPLETE);
	ck_assert_str_eq(ft_reader_meta(reader, "state"), "complete");
	ck_assert_int_eq(ft_reader_meta_int(reader, "format_version", 0), FT_FORMAT_VERSION);
	ck_assert_int_eq(ft_reader_meta_int(reader, "state", 7), 7);
	ck_assert_ptr_null(ft_reader_meta(reader, "no such key"));
	ft_reader_close(reader);
	unlink(path);
}
END_TEST

/* The reader keeps the events that it saw when it opened, while the tail chunk is replaced. */
START_TEST(live_recording_is_a_consistent_prefix)
{
	const char *path = fresh_path();
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	struct other writer = start_writer(path, 70000, END_FINISH);
	struct ft_reader *reader;
	int status;
	size_t n;

	ok(ft_reader_open(path, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_RECORDING);
	ck_assert_uint_eq(ft_reader_n_events(reader), 70000);
	go_on(&writer);
	/* Until the writer has added its events; it then waits for us to fold the file. */
	sleep_ms(300);
	ck_assert_uint_eq(ft_reader_n_chunks(reader), 2);
	ok(ft_reader_chunk(reader, 1, events, &n));
	ck_assert_uint_eq(n, 70000 - FT_CHUNK_EVENTS);
	ck_assert_uint_eq(events[n - 1].seq, 69999);
	ft_reader_close(reader);
	wait_for(&writer, &status);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert(is_alone(path));

	ok(ft_reader_open(path, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_COMPLETE);
	ck_assert_uint_eq(ft_reader_n_events(reader), 71000);
	ft_reader_close(reader);
	free(events);
	unlink(path);
}
END_TEST

START_TEST(killed_writer_leaves_a_readable_recording)
{
	const char *path = fresh_path();
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events));
	struct other writer = start_writer(path, 70000, END_KILLED);
	struct ft_reader *reader;
	int status;
	size_t n;

	kill(writer.pid, SIGKILL);
	wait_for(&writer, &status);
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_CUT_OFF);
	ck_assert_uint_eq(ft_reader_n_events(reader), 70000);
	for (size_t i = 0; i < ft_reader_n_chunks(reader); i++)
		ok(ft_reader_chunk(reader, i, events, &n));
	ft_reader_close(reader);

	/* Symbols can be added; that folds it, and it stays cut off. */
	struct ft_symbol_writer *symbols;

	ok(ft_symbol_writer_open(path, &symbols));
	ok(ft_symbol_writer_add(symbols, &(struct ft_symbol_row){.offset = 1, .function = "f"}));
	ok(ft_symbol_writer_commit(symbols));
	ft_symbol_writer_close(symbols);
	ck_assert(is_alone(path));
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_CUT_OFF);
	ck_assert_uint_eq(ft_reader_n_events(reader), 70000);
	ft_reader_close(reader);
	free(events);
	unlink(path);
}
END_TEST

/* A whole life of a small recording, stopped at each entry into and return from a system call. */
static pid_t start_stepped_writer(const char *path)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct synth *synth = synth_create(&(struct synth_options){.seed = 4});
		struct ft_writer *writer;

		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(77);
		raise(SIGSTOP);
		ok(ft_writer_create(path, &writer));
		write_stacks(writer, synth);
		write_events(writer, synth, 100);
		ok(ft_writer_commit(writer, true));
		ok(ft_writer_finish(writer));
		_exit(0);
	}
	return pid;
}

/* Copy a file; what is not there is not there in the copy either. */
static void copy_file(const char *path, const char *copy, const char *suffix)
{
	char from[96], to[96], bytes[65536];
	ssize_t n;

	snprintf(from, sizeof(from), "%s%s", path, suffix);
	snprintf(to, sizeof(to), "%s%s", copy, suffix);
	unlink(to);

	int in = open(from, O_RDONLY | O_CLOEXEC);

	if (in < 0)
		return;

	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	ck_assert_int_ge(out, 0);
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		ck_assert_int_eq(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

/* What a SIGKILL leaves at a moment is what is in the files at that moment, and nobody's locks. */
START_TEST(writer_killed_at_any_moment_leaves_a_recording_or_nothing)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
	const char *path = fresh_path();
	char copy[80], beside[96];
	struct ft_reader *reader;
	int status = 0, n_opened = 0;
	pid_t pid = start_stepped_writer(path);

	snprintf(copy, sizeof(copy), "%s.copy", path);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	for (int n = 1; WIFSTOPPED(status); n++) {
		for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
			copy_file(path, copy, suffixes[i]);
		if (access(copy, F_OK) == 0) {
			struct ft_error *error = ft_reader_open(copy, FT_READER_NO_WAIT, &reader);

			if (error)
				ck_abort_msg("killed at stop %d: %s", n, error->message);
			ck_assert_int_ne(ft_reader_state(reader), FT_STATE_RECORDING);
			if (ft_reader_state(reader) == FT_STATE_COMPLETE)
				ck_assert_uint_eq(ft_reader_n_events(reader), 100);
			ft_reader_close(reader);
			n_opened++;
		}
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	}
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		fprintf(stderr, "# skipped: ptrace is not permitted here\n");
		return;
	}
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_int_gt(n_opened, 50);
	fresh_path();
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		snprintf(beside, sizeof(beside), "%s%s", copy, suffixes[i]);
		unlink(beside);
	}
}
END_TEST

START_TEST(reader_waits_for_a_writer_that_ends)
{
	const char *path = fresh_path();
	struct other writer = start_writer(path, 5000, END_LATE);
	struct ft_symbol_writer *symbols;
	struct ft_reader *reader;
	int status;
	uint64_t start = now_ms();

	ok(ft_reader_open(path, FT_READER_NO_WAIT, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_RECORDING);
	ck_assert_uint_eq(ft_reader_n_events(reader), 5000);
	ft_reader_close(reader);
	fails(ft_symbol_writer_open(path, &symbols), FT_ERROR_BUSY, "still being recorded");
	go_on(&writer);
	ok(ft_reader_open(path, 0, &reader));
	ck_assert_uint_ge(now_ms() - start, 250);
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_COMPLETE);
	ck_assert_uint_eq(ft_reader_n_events(reader), 6000);
	ft_reader_close(reader);
	wait_for(&writer, &status);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert(is_alone(path));
	unlink(path);
}
END_TEST

/* A cut-off recording on a file system that nobody can write to, without a -shm: the part that is
 * still in the -wal file is read. A mount needs privileges; without them the folder's mode does it.
 */
START_TEST(cut_off_recording_in_a_read_only_folder_is_read)
{
	const char *path = fresh_path();
	char folder[64], inside[160], from[160];
	struct other writer = start_writer(path, 70000, END_KILLED);
	struct ft_reader *reader;
	int status;

	kill(writer.pid, SIGKILL);
	wait_for(&writer, &status);
	snprintf(folder, sizeof(folder), "store-test.%d.folder", (int)getpid());
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	snprintf(inside, sizeof(inside), "%s/r.frag", folder);
	ck_assert_int_eq(rename(path, inside), 0);
	snprintf(from, sizeof(from), "%s-wal", path);
	snprintf(inside, sizeof(inside), "%s/r.frag-wal", folder);
	ck_assert_int_eq(rename(from, inside), 0);
	snprintf(from, sizeof(from), "%s-shm", path);
	unlink(from);

	bool mounted = unshare(CLONE_NEWNS) == 0 &&
		       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		       mount(folder, folder, NULL, MS_BIND, NULL) == 0 &&
		       mount(NULL, folder, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0;

	if (!mounted)
		ck_assert_int_eq(chmod(folder, 0500), 0);
	snprintf(inside, sizeof(inside), "%s/r.frag", folder);
	ok(ft_reader_open(inside, 0, &reader));
	ck_assert_int_eq(ft_reader_state(reader), FT_STATE_CUT_OFF);
	ck_assert_uint_eq(ft_reader_n_events(reader), 70000);
	ft_reader_close(reader);
	if (mounted)
		ck_assert_int_eq(umount(folder), 0);
	else
		ck_assert_int_eq(chmod(folder, 0700), 0);
	unlink(inside);
	snprintf(inside, sizeof(inside), "%s/r.frag-wal", folder);
	unlink(inside);
	rmdir(folder);
}
END_TEST

START_TEST(rows_round_trip)
{
	const char *path = fresh_path();
	struct ft_writer *writer;
	struct ft_reader *reader;
	struct ft_process_row process;

	ok(ft_writer_create(path, &writer));
	ok(ft_writer_meta(writer, "note", "text"));
	ok(ft_writer_process(writer, &(struct ft_process_row){.pid = 7,
							      .exe = "/bin/x",
							      .fork_ns = FT_TIME_NONE,
							      .start_realtime_ns = 5,
							      .end_ns = FT_TIME_NONE,
							      .exit_code = -1}));
	ok(ft_writer_process(writer, &(struct ft_process_row){.pid = 7,
							      .exe = "/bin/x",
							      .fork_ns = FT_TIME_NONE,
							      .end_ns = 99,
							      .exit_kind = "signal",
							      .exit_code = 11}));
	ok(ft_writer_finish(writer));
	ok(ft_reader_open(path, 0, &reader));
	ok(ft_reader_process(reader, &process));
	ck_assert_int_eq(process.pid, 7);
	ck_assert_str_eq(process.exe, "/bin/x");
	ck_assert_ptr_null(process.argv_json);
	ck_assert_uint_eq(process.fork_ns, FT_TIME_NONE);
	ck_assert_uint_eq(process.end_ns, 99);
	ck_assert_str_eq(process.exit_kind, "signal");
	ck_assert_int_eq(process.exit_code, 11);
	ck_assert_str_eq(ft_reader_meta(reader, "note"), "text");
	ft_reader_close(reader);
	unlink(path);
}
END_TEST

START_TEST(writer_refuses_what_breaks_the_format)
{
	const char *path = fresh_path();
	struct ft_writer *writer;
	struct ft_event event = {.kind = FT_EVENT_ALLOC, .time_ns = 100, .thread = 1};

	ok(ft_writer_create(path, &writer));
	ok(ft_writer_event(writer, &event, NULL));
	event.time_ns = 99;
	fails(ft_writer_event(writer, &event, NULL), FT_ERROR_USAGE, "back in time");
	event.time_ns = 100;
	event.kind = 9;
	fails(ft_writer_event(writer, &event, NULL), FT_ERROR_USAGE, "kind 9");
	fails(ft_writer_stack_node(writer, &(struct ft_stack_node){.id = 3, .parent = 3}),
	      FT_ERROR_USAGE, "node 3 under 3");
	ok(ft_writer_finish(writer));
	unlink(path);
}
END_TEST

/* The file has no room, in the middle of a transaction; then it has again, when it is closed. */
START_TEST(what_failed_is_not_committed_later)
{
	const char *path = fresh_path();
	struct synth *synth = synth_create(&(struct synth_options){.seed = 7});
	struct ft_event *events = calloc(FT_CHUNK_EVENTS, sizeof(*events)), event;
	struct ft_error *error = NULL;
	struct ft_reader *reader;
	struct ft_writer *writer;
	struct rlimit limit;
	uint64_t seq = 0;
	size_t n;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	signal(SIGXFSZ, SIG_IGN);
	ok(ft_writer_create(path, &writer));
	/* Pages go to the log before the commit, as those of a large transaction do. */
	ck_assert_int_eq(sqlite3_exec(writer->db, "PRAGMA cache_size=16", NULL, NULL, NULL),
			 SQLITE_OK);
	write_stacks(writer, synth);
	write_events(writer, synth, 1000);
	ok(ft_writer_commit(writer, true));
	/* The log reaches it while a transaction of several chunks is under way. */
	limit.rlim_cur = 1 << 20;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int i = 0; i < 2000000 && !error; i++) {
		synth_next(synth, &event);
		error = ft_writer_event(writer, &event, NULL);
	}
	ck_assert_ptr_nonnull(error);
	ck_assert_int_eq(error->kind, FT_ERROR_OS);
	ft_error_destroy(error);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ft_writer_close(writer);

	ok(ft_reader_open(path, FT_READER_NO_WAIT, &reader));
	ck_assert_uint_ge(ft_reader_n_events(reader), 1000);
	for (size_t i = 0; i < ft_reader_n_chunks(reader); i++) {
		ok(ft_reader_chunk(reader, i, events, &n));
		ck_assert_uint_eq(events[0].seq, seq);
		seq += n;
	}
	ft_reader_close(reader);
	free(events);
	synth_destroy(synth);
	unlink(path);
}
END_TEST

int main(void)
{
	TCase *tcase = tcase_create("state");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, nothing_is_overwritten);
	tcase_add_test(tcase, finished_recording_is_one_private_file);
	tcase_add_test(tcase, live_recording_is_a_consistent_prefix);
	tcase_add_test(tcase, killed_writer_leaves_a_readable_recording);
	tcase_add_test(tcase, writer_killed_at_any_moment_leaves_a_recording_or_nothing);
	tcase_add_test(tcase, reader_waits_for_a_writer_that_ends);
	tcase_add_test(tcase, cut_off_recording_in_a_read_only_folder_is_read);
	tcase_add_test(tcase, rows_round_trip);
	tcase_add_test(tcase, writer_refuses_what_breaks_the_format);
	tcase_add_test(tcase, what_failed_is_not_committed_later);
	return run_suite("state", tcase);
}
