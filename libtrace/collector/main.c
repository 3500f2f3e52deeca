/* SPDX-License-Identifier: MIT */
/* fragtrace-collector: parse, set up, serve. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "co_control.h"
#include "co_server.h"
#include "co_symbols.h"
#include "ft_error.h"
#include "ft_hello.h"
#include "ft_quantity.h"

/* Below it are the shells and small tools of a script (an env makes 263 calls, a dash 50); a
 * program that does something with its heap is above. */
enum { DEFAULT_MIN_EVENTS = 1000 };

static const char help[] =
	"Usage: fragtrace-collector --listen-fd N [OPTIONS]\n"
	"\n"
	"Serve the recording of traced programs. Started by `fragtrace run` and by\n"
	"libfragtrace.so, with a listening socket; there is no need to start it by hand.\n"
	"\n"
	"  --listen-fd N     listening abstract SOCK_SEQPACKET socket\n"
	"  --notify-fd N     socket to the launcher\n"
	"  --no-symbols      leave symbols to `fraganalyze resolve`\n"
	"  --min-events N    images with fewer calls leave a row in the recording of the\n"
	"                    image that they come of instead of a file (1000; 0: all get one)\n"
	"  --linger MS       wait so long for more programs after the last (200)\n"
	"  --symbolize FILE  add symbols to a finished recording and exit\n"
	"  --help, --version\n"
	"\n"
	"FRAGTRACE_VERBOSE=1 writes messages to stderr, FRAGTRACE_SYMBOLIZE=0 is --no-symbols,\n"
	"FRAGTRACE_MIN_EVENTS=N is --min-events N. FRAGTRACE_MAX_SIZE=SIZE and\n"
	"FRAGTRACE_MAX_AGE=TIME keep each recording within a budget (see fragtrace(1)).\n";

static bool is_set(const char *name, const char *value)
{
	const char *text = getenv(name);

	return text && strcmp(text, value) == 0;
}

static bool parse_int(const char *text, int *ret)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < 0 || value > 1 << 30)
		return false;
	*ret = (int)value;
	return true;
}

/* 0: none, or none that can be kept. */
static uint64_t parse_budget(const char *text)
{
	uint64_t bytes = ft_parse_size(text);

	return bytes >= CO_MIN_MAX_SIZE ? bytes : 0;
}

static int fail(struct ft_error *error, bool verbose)
{
	if (!error)
		return 0;
	if (verbose)
		fprintf(stderr, "fragtrace-collector: %s\n", error->message);
	ft_error_destroy(error);
	return 1;
}

/* Whatever descriptors we were given by mistake are not ours to keep open for hours. */
static void close_inherited(const struct co_server_options *options)
{
	int keep_low = options->listen_fd, keep_high = options->notify_fd;

	if (keep_low > keep_high) {
		int swap = keep_low;
		keep_low = keep_high;
		keep_high = swap;
	}
	/* [3, low) and (low, high) and (high, ...): the two that we keep stay. */
	if (keep_low > 3)
		close_range(3, (unsigned)keep_low - 1, 0);
	if (keep_high - keep_low > 1)
		close_range(keep_low < 2 ? 3 : (unsigned)keep_low + 1, (unsigned)keep_high - 1, 0);
	close_range((unsigned)keep_high + 1, ~0U, 0);
}

/* An image takes some descriptors; the soft limit was set with other programs in mind. */
static void lift_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	enum { LISTEN = 1, NOTIFY, NO_SYMBOLS, LINGER, MIN_EVENTS, SYMBOLIZE, HELP, VERSION };
	static const struct option longs[] = {{"listen-fd", required_argument, NULL, LISTEN},
					      {"notify-fd", required_argument, NULL, NOTIFY},
					      {"no-symbols", no_argument, NULL, NO_SYMBOLS},
					      {"linger", required_argument, NULL, LINGER},
					      {"min-events", required_argument, NULL, MIN_EVENTS},
					      {"symbolize", required_argument, NULL, SYMBOLIZE},
					      {"help", no_argument, NULL, HELP},
					      {"version", no_argument, NULL, VERSION},
					      {0}};
	bool verbose = is_set(FT_ENV_VERBOSE, "1");
	struct co_server_options options = {.listen_fd = -1,
					    .notify_fd = -1,
					    .symbols = !is_set("FRAGTRACE_SYMBOLIZE", "0"),
					    .verbose = verbose,
					    .min_events = DEFAULT_MIN_EVENTS,
					    .linger_ms = 200,
					    .self = "/proc/self/exe"};
	const char *min_events = getenv(FT_ENV_MIN_EVENTS);
	const char *max_size = getenv(FT_ENV_MAX_SIZE), *max_age = getenv(FT_ENV_MAX_AGE);
	bool ok = true;
	int c;

	/* The program's environment is not ours to complain of. */
	if (min_events && !parse_int(min_events, &options.min_events))
		options.min_events = DEFAULT_MIN_EVENTS;

	if (max_size)
		options.max_bytes = parse_budget(max_size);
	if (max_age)
		options.max_age_ns = ft_parse_duration(max_age);

	/* We and our helper process must not be traced ourselves. */
	unsetenv("LD_PRELOAD");

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case LISTEN:
			ok = ok && parse_int(optarg, &options.listen_fd);
			break;
		case NOTIFY:
			ok = ok && parse_int(optarg, &options.notify_fd);
			break;
		case NO_SYMBOLS:
			options.symbols = false;
			break;
		case LINGER:
			ok = ok && parse_int(optarg, &options.linger_ms);
			break;
		case MIN_EVENTS:
			ok = ok && parse_int(optarg, &options.min_events);
			break;
		case SYMBOLIZE:
			setpriority(PRIO_PROCESS, 0, 10);
			return fail(co_symbols_add(optarg), verbose);
		case HELP:
			fputs(help, stdout);
			return 0;
		case VERSION:
			puts("fragtrace-collector " FT_VERSION);
			return 0;
		default:
			return 2;
		}
	}
	if (!ok || optind != argc || options.listen_fd < 0 ||
	    fcntl(options.listen_fd, F_GETFD) < 0) {
		fputs("fragtrace-collector: needs --listen-fd N with an open socket "
		      "(see --help); it is started by `fragtrace run` or libfragtrace.so\n",
		      stderr);
		return 2;
	}

	close_inherited(&options);
	lift_descriptor_limit();
	setpgid(0, 0);
	if (chdir("/") < 0)
		return 1;
	return fail(co_server_run(&options), verbose);
}
