/* SPDX-License-Identifier: MIT */
/* fragtrace node: its options. */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "no_record.h"

enum { OWN_FAILURE = 125, BUFFER_KIB = 32768 };

static const char help[] =
	"Usage: fragtrace node [OPTIONS]\n"
	"\n"
	"Record what the kernel says of this machine's memory: free blocks by order, pageblocks,\n"
	"watermarks, compaction, huge pages, slabs, pressure. Without root there is less, and the\n"
	"recording says what is missing. `fraganalyze node` reads it.\n"
	"\n"
	"  -o, --output FILE     name of the recording (default node.frag); an existing file is\n"
	"                        never overwritten, the new one gets NAME.2.frag ...\n"
	"      --interval TIME   between samples (default 2s)\n"
	"      --duration TIME   how long (default: until SIGINT)\n"
	"      --kpageflags      look at each page frame, at the start and at the end (root; one\n"
	"                        second of a CPU for 24 GiB)\n"
	"      --trace           record each page that is allocated and freed, and compaction\n"
	"                        (root; some MiB a second on a busy machine: give a --duration)\n"
	"      --buffer SIZE     of a CPU's trace buffer, in KiB (default 32768)\n"
	"      --try-compact     at the end have the kernel compact all memory, and look again\n"
	"                        (root; this changes the machine: it stalls other programs)\n"
	"  -q, --quiet           do not say what was recorded\n"
	"      --help            this text\n"
	"\n"
	"A TIME is a number of seconds, or has a unit: 500ms, 2s, 10m, 1h.\n"
	"\n"
	"Example:\n"
	"  fragtrace node --duration 60 --kpageflags -o node.frag\n"
	"  fraganalyze node node.frag\n";

static bool parse_time(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {{"", 1e9}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"min", 60e9}, {"h", 3600e9}};
	char *end;
	double value;

	if (!isdigit((unsigned char)*text) && *text != '.')
		return false;
	value = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(end, units[i].name)) {
			value *= units[i].ns;
			if (!(value >= 1e6 && value < 1e18))
				return false;
			*ret = (uint64_t)value;
			return true;
		}
	return false;
}

static int usage(const char *message, const char *what)
{
	fprintf(stderr, "fragtrace: %s%s (see fragtrace node --help)\n", message, what);
	return OWN_FAILURE;
}

int no_command(int argc, char **argv)
{
	enum { INTERVAL = 1, DURATION, PAGES, TRACE, BUFFER, COMPACT, HELP };
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
					      {"interval", required_argument, NULL, INTERVAL},
					      {"duration", required_argument, NULL, DURATION},
					      {"kpageflags", no_argument, NULL, PAGES},
					      {"trace", no_argument, NULL, TRACE},
					      {"buffer", required_argument, NULL, BUFFER},
					      {"try-compact", no_argument, NULL, COMPACT},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, HELP},
					      {0}};
	struct no_options options = {.interval_ns = UINT64_C(2000000000), .buffer_kib = BUFFER_KIB};
	struct ft_error *error;
	unsigned long kib;
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "o:q", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			if (!*optarg)
				return usage("-o needs a name", "");
			options.output = optarg;
			break;
		case INTERVAL:
			if (!parse_time(optarg, &options.interval_ns))
				return usage("--interval is a time such as 500ms or 2s, not ",
					     optarg);
			break;
		case DURATION:
			if (!parse_time(optarg, &options.duration_ns))
				return usage("--duration is a time such as 30s or 10m, not ",
					     optarg);
			break;
		case PAGES:
			options.pages = true;
			break;
		case TRACE:
			options.trace = true;
			break;
		case BUFFER:
			kib = strtoul(optarg, &end, 10);
			if (!isdigit((unsigned char)*optarg) || *end || kib < 64 || kib > 4194304)
				return usage("--buffer is a number of KiB from 64 to 4194304, not ",
					     optarg);
			options.buffer_kib = (unsigned)kib;
			break;
		case COMPACT:
			options.try_compact = true;
			break;
		case 'q':
			options.quiet = true;
			break;
		case HELP:
			fputs(help, stdout);
			return 0;
		default:
			return OWN_FAILURE;
		}
	}
	if (optind != argc)
		return usage("one argument too many: ", argv[optind]);
	error = no_record(&options);
	if (!error)
		return 0;
	fprintf(stderr, "fragtrace: %s\n", error->message);
	ft_error_destroy(error);
	return OWN_FAILURE;
}
