/* SPDX-License-Identifier: MIT */
/* fragtrace: parse, run, end as the program ended. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ft_error.h"
#include "ft_governor.h"
#include "ft_quantity.h"
#include "ft_sample.h"
#include "la_control.h"
#include "la_program.h"
#include "la_run.h"
#include "no_record.h"

static const char help[] =
	"Usage: fragtrace run [OPTIONS] -- PROGRAM [ARGS...]\n"
	"       fragtrace mark PID LABEL\n"
	"       fragtrace ctl PID pause|resume|flush|stats|rotate|max-size=SIZE\n"
	"       fragtrace top [OPTIONS] PID|FILE\n"
	"       fragtrace node [OPTIONS]\n"
	"\n"
	"Record what a program does with its heap: every allocation with its full stack,\n"
	"its thread and its time, in one file that fraganalyze reads.\n"
	"\n"
	"  run         record a program and the programs that it starts\n"
	"  mark        put a mark into the recording of a running program\n"
	"  ctl         pause: take up no new blocks; resume; flush: answer when all that\n"
	"              happened before is in the file; stats: print figures as JSON;\n"
	"              rotate: close the file and go on in the next one, print both names as\n"
	"              JSON; max-size=SIZE: another budget for a recording that has one\n"
	"  top         watch a recording as it grows (this is `fraganalyze top`)\n"
	"  node        record the memory of this machine, as the kernel tells of it\n"
	"  --help      this text; `fragtrace run --help` lists the options\n"
	"  --version   version\n"
	"\n"
	"Example:\n"
	"  fragtrace run -o soak.frag -- ./server --port 8000\n"
	"  fraganalyze leaks soak.frag\n";

static const char run_help[] =
	"Usage: fragtrace run [OPTIONS] [--] PROGRAM [ARGS...]\n"
	"\n"
	"  -o, --output FILE     name of the recording (default NAME.PID.frag here);\n"
	"                        %n program, %p pid, %h host, %t time; an existing file is\n"
	"                        never overwritten, the new one gets .2, .3 ...\n"
	"      --depth N         frames kept of a stack\n"
	"      --unwind HOW      auto (default): by the unwind tables, nothing guessed; dwarf: "
	"the\n"
	"                        same, and only whole stacks; fp: frame pointers; none: the\n"
	"                        caller alone; libunwind: slow, for comparison\n"
	"      --free-stacks     record where blocks are freed, too\n"
	"      --sample BYTES    record a sample, about one block per so many bytes (512KiB is a\n"
	"                        good one for production): figures are then estimates\n"
	"      --max-overhead P  keep what recording adds below P percent of the program's own\n"
	"                        time (5%): first fewer frames of stacks, then fewer blocks are\n"
	"                        recorded; every step is in the recording\n"
	"      --self-check      compare every stack with libunwind's (very slow)\n"
	"      --on-full POLICY  wait (default): lossless, the program may wait for the disk;\n"
	"                        drop: never wait, losses are counted and shown\n"
	"      --stall-limit MS  with wait: drop once the collector stands still for so long\n"
	"                        (default 2000)\n"
	"      --follow HOW      record children too: fork,exec (default), fork, exec or none\n"
	"      --min-events N    a child that makes fewer calls leaves a row in its parent's\n"
	"                        recording instead of a file (default 1000; 0: all get files)\n"
	"      --max-size SIZE   keep the recording within so much disk (2G, 64M, at least 1M):\n"
	"                        the newest stretch in full detail, what is older rolled up\n"
	"      --max-age TIME    keep so much in full detail (3d, 12h, 30m)\n"
	"      --no-symbols      leave names to `fraganalyze resolve`\n"
	"      --help            this text\n"
	"\n"
	"Exit status: the program's; if a signal ended it, fragtrace ends by the same signal\n"
	"(128 + N to a shell). 127 not found, 126 not executable, 125 fragtrace's own failure,\n"
	"or a program that can't be recorded (static, setuid, of another machine).\n"
	"\n"
	"Example:\n"
	"  fragtrace run -o soak.frag -- ./server --port 8000\n";

static int usage(const char *message, const char *what)
{
	fprintf(stderr, "fragtrace: %s%s (see fragtrace %s--help)\n", message, what,
		strstr(message, "verb") ? "" : "run ");
	return LA_OWN_FAILURE;
}

static bool is_number(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len < 9 && strspn(text, "0123456789") == len;
}

static bool is_unwind(const char *text)
{
	static const char *const names[] = {"auto", "dwarf", "fp", "none", "libunwind"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(text, names[i]) == 0)
			return true;
	return false;
}

static bool is_follow(const char *text)
{
	static const char *const words[] = {"fork,exec", "exec,fork", "fork", "exec", "none"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

/* End by the signal that ended the program, so that shells and make see what happened; no second
 * core. If that does not end us, the exit status says it. */
static void end_by(int sig)
{
	struct rlimit none = {0, 0};
	sigset_t one;

	setrlimit(RLIMIT_CORE, &none);
	signal(sig, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	raise(sig);
}

static int run(int argc, char **argv)
{
	enum {
		DEPTH = 1,
		UNWIND,
		FREE_STACKS,
		SAMPLE,
		MAX_OVERHEAD,
		SELF_CHECK,
		ON_FULL,
		STALL_LIMIT,
		NO_SYMBOLS,
		FOLLOW,
		MIN_EVENTS,
		MAX_SIZE,
		MAX_AGE,
		HELP
	};
	static const struct option longs[] = {
		{"output", required_argument, NULL, 'o'},
		{"depth", required_argument, NULL, DEPTH},
		{"unwind", required_argument, NULL, UNWIND},
		{"free-stacks", no_argument, NULL, FREE_STACKS},
		{"sample", required_argument, NULL, SAMPLE},
		{"max-overhead", required_argument, NULL, MAX_OVERHEAD},
		{"self-check", no_argument, NULL, SELF_CHECK},
		{"on-full", required_argument, NULL, ON_FULL},
		{"stall-limit", required_argument, NULL, STALL_LIMIT},
		{"no-symbols", no_argument, NULL, NO_SYMBOLS},
		{"follow", required_argument, NULL, FOLLOW},
		{"min-events", required_argument, NULL, MIN_EVENTS},
		{"max-size", required_argument, NULL, MAX_SIZE},
		{"max-age", required_argument, NULL, MAX_AGE},
		{"help", no_argument, NULL, HELP},
		{0}};
	struct la_run_options options = {0};
	struct ft_error *error;
	int c, status, sig;

	/* "+": the program's options are its own. */
	while ((c = getopt_long(argc, argv, "+o:", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			if (!*optarg)
				return usage("-o needs a name", "");
			options.output = optarg;
			break;
		case DEPTH:
			if (!is_number(optarg) || atoi(optarg) == 0)
				return usage("--depth is a number of frames, not ", optarg);
			options.depth = optarg;
			break;
		case UNWIND:
			if (!is_unwind(optarg))
				return usage("--unwind is auto, dwarf, fp, none or libunwind, not ",
					     optarg);
			options.unwind = optarg;
			break;
		case FREE_STACKS:
			options.free_stacks = true;
			break;
		case SAMPLE:
			if (!ft_sample_parse(optarg))
				return usage("--sample is a number of bytes such as 512KiB, 64MiB "
					     "at most, not ",
					     optarg);
			options.sample = optarg;
			break;
		case MAX_OVERHEAD:
			if (!ft_overhead_parse(optarg))
				return usage("--max-overhead is a percentage such as 5%, from 0.1% "
					     "to 1000%, not ",
					     optarg);
			options.max_overhead = optarg;
			break;
		case SELF_CHECK:
			options.self_check = true;
			break;
		case ON_FULL:
			if (strcmp(optarg, "wait") != 0 && strcmp(optarg, "drop") != 0)
				return usage("--on-full is wait or drop, not ", optarg);
			options.on_full = optarg;
			break;
		case STALL_LIMIT:
			if (!is_number(optarg))
				return usage("--stall-limit is a number of milliseconds, not ",
					     optarg);
			options.stall_limit = optarg;
			break;
		case FOLLOW:
			if (!is_follow(optarg))
				return usage("--follow is fork,exec or fork or exec or none, not ",
					     optarg);
			options.follow = optarg;
			break;
		case MIN_EVENTS:
			if (!is_number(optarg))
				return usage("--min-events is a number of calls, not ", optarg);
			options.min_events = optarg;
			break;
		case MAX_SIZE:
			if (ft_parse_size(optarg) < CO_MIN_MAX_SIZE)
				return usage("--max-size is a size of at least 1M such as 2G, not ",
					     optarg);
			options.max_size = optarg;
			break;
		case MAX_AGE:
			if (!ft_parse_duration(optarg))
				return usage("--max-age is a time such as 12h or 3d, not ", optarg);
			options.max_age = optarg;
			break;
		case NO_SYMBOLS:
			options.no_symbols = true;
			break;
		case HELP:
			fputs(run_help, stdout);
			return 0;
		default:
			return LA_OWN_FAILURE;
		}
	}
	if (options.sample && options.max_overhead)
		return usage("--sample and --max-overhead exclude each other", "");
	if (optind == argc)
		return usage("which program?", "");
	options.argv = argv + optind;

	error = la_run(&options, &status, &sig);
	if (error) {
		fprintf(stderr, "fragtrace: %s\n", error->message);
		ft_error_destroy(error);
		return status;
	}
	if (sig)
		end_by(sig);
	return status;
}

static int control(pid_t pid, enum co_control_verb verb, const char *text)
{
	struct ft_error *error = la_control(pid, verb, text);

	if (!error)
		return 0;
	fprintf(stderr, "fragtrace: %s\n", error->message);
	ft_error_destroy(error);
	return LA_OWN_FAILURE;
}

/* argv[0] is the verb, argv[1] a pid, argv[2] a label or what to do. */
static int run_control(int argc, char **argv)
{
	static const struct {
		const char *name;
		enum co_control_verb verb;
	} verbs[] = {{"pause", CO_CONTROL_PAUSE},
		     {"resume", CO_CONTROL_RESUME},
		     {"flush", CO_CONTROL_FLUSH},
		     {"stats", CO_CONTROL_STATS},
		     {"rotate", CO_CONTROL_ROTATE}};
	bool is_mark = strcmp(argv[0], "mark") == 0;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		fputs(help, stdout);
		return 0;
	}
	if (argc != 3 || !is_number(argv[1]) || atoi(argv[1]) == 0) {
		fprintf(stderr, "fragtrace: usage: fragtrace %s\n",
			is_mark ? "mark PID LABEL"
				: "ctl PID pause|resume|flush|stats|rotate|max-size=SIZE");
		return LA_OWN_FAILURE;
	}
	if (is_mark)
		return control(atoi(argv[1]), CO_CONTROL_MARK, argv[2]);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(argv[2], verbs[i].name) == 0)
			return control(atoi(argv[1]), verbs[i].verb, NULL);
	if (strncmp(argv[2], "max-size=", 9) == 0)
		return control(atoi(argv[1]), CO_CONTROL_MAX_SIZE, argv[2] + 9);
	fprintf(stderr,
		"fragtrace: ctl knows pause, resume, flush, stats, rotate and max-size=SIZE, not "
		"%s\n",
		argv[2]);
	return LA_OWN_FAILURE;
}

/* What a recording means is the analyzer's; this program has none of it. */
static int top(int argc, char **argv)
{
	char *path, **args;
	struct ft_error *error = la_find_analyzer(&path);

	if (!error) {
		args = calloc((size_t)argc + 2, sizeof(*args));
		if (args) {
			args[0] = (char *)(uintptr_t) "fraganalyze";
			memcpy(args + 1, argv, (size_t)argc * sizeof(*args));
			execv(path, args);
		}
		error = ft_error_os(errno, "%s", path);
		free(args);
		free(path);
	}
	fprintf(stderr, "fragtrace: %s\n", error->message);
	ft_error_destroy(error);
	return LA_OWN_FAILURE;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	if (strcmp(verb, "run") == 0)
		return run(argc - 1, argv + 1);
	if (strcmp(verb, "top") == 0)
		return top(argc - 1, argv + 1);
	if (strcmp(verb, "node") == 0)
		return no_command(argc - 1, argv + 1);
	if (strcmp(verb, "mark") == 0 || strcmp(verb, "ctl") == 0)
		return run_control(argc - 1, argv + 1);
	if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0) {
		fputs(help, stdout);
		return 0;
	}
	if (strcmp(verb, "--version") == 0) {
		puts("fragtrace " FT_VERSION);
		return 0;
	}
	if (!*verb) {
		fputs(help, stderr);
		return LA_OWN_FAILURE;
	}
	return usage("unknown verb: ", verb);
}
