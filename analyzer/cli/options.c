/* SPDX-License-Identifier: MIT */
/* Options: one table drives parsing and --help. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum option_id {
	OPT_HELP = 'h',
	OPT_OUTPUT = 'o',
	OPT_FORCE = 'f',
	OPT_TOP = 'n',
	OPT_QUIET = 'q',
	OPT_JSON = 256,
	OPT_CSV,
	OPT_FROM,
	OPT_TO,
	OPT_AT,
	OPT_SITES,
	OPT_PAGES,
	OPT_SERIES,
	OPT_SVG,
	OPT_MIN_BLOCK,
	OPT_ARENA,
	OPT_UNMOVABLE,
	OPT_BY,
	OPT_SORT,
	OPT_NO_WAIT,
	OPT_COLOR,
	OPT_ASCII,
	OPT_UNITS,
	OPT_LANG,
	OPT_PER,
	OPT_LIMIT,
	OPT_MAX_GROWTH,
	OPT_MAX_LIVE,
	OPT_MAX_RSS,
	OPT_MAX_ERRORS,
	OPT_BASELINE,
	OPT_FORMAT,
	OPT_ALLOW_PARTIAL,
	OPT_SUPPRESSIONS,
	OPT_PRINT_SUPPRESSIONS,
	OPT_VERSION,
};

static const struct option_row {
	const char *name, *argument, *help;
	int id; /* a letter is also its short form */
} rows[] = {
	{"by", "WHAT", "live (default), peak, allocated or temporary", OPT_BY},
	{"sort", "BY", "peak (default), allocated, temporary, live, count or realloc", OPT_SORT},
	{"top", "N", "rows of the table", OPT_TOP},
	{"from", "TIME", "begin of the window: 10s, 1h30m, -10m (before the end) or a mark",
	 OPT_FROM},
	{"to", "TIME", "its end", OPT_TO},
	{"limit", "SIZE", "of resident memory; when it is reached (default: the cgroup's)",
	 OPT_LIMIT},
	{"at", "TIME", "describe the heap at that time, or at its 'peak'", OPT_AT},
	{"sites", NULL, "who pins pages: each site, pairs and sets of sites", OPT_SITES},
	{"pages", NULL, "pages with most free bytes, and the blocks on them", OPT_PAGES},
	{"series", NULL, "with --json: all series as well", OPT_SERIES},
	{"svg", "FILE", "write the map as SVG; - is stdout", OPT_SVG},
	{"min-block", "SIZE", "smallest block of the buddy allocator (default: 32)", OPT_MIN_BLOCK},
	{"arena", "SIZE", "its size is fixed: say which request would be the first to fail",
	 OPT_ARENA},
	{"unmovable", "SITE", "a function, or a site's number, whose blocks stay; repeatable",
	 OPT_UNMOVABLE},
	{"json", NULL, "print JSON", OPT_JSON},
	{"csv", NULL, "print rows as CSV", OPT_CSV},
	{"output", "FILE", "where to write; - is stdout", OPT_OUTPUT},
	{"force", NULL, "overwrite an existing file", OPT_FORCE},
	{"lang", "LANG", "language the report opens in: en or zh", OPT_LANG},
	{"per", "MARK", "count operations by marks of this label, and give growth for each",
	 OPT_PER},
	{"max-growth", "RATE", "most that sites may grow, such as 1MiB/h", OPT_MAX_GROWTH},
	{"max-live", "SIZE", "most memory that may be live at any time", OPT_MAX_LIVE},
	{"max-rss", "SIZE", "most that may be resident", OPT_MAX_RSS},
	{"max-errors", "N", "bad frees that are allowed (default: 0)", OPT_MAX_ERRORS},
	{"baseline", "OLD", "a recording; growth and bad frees that it has are no errors",
	 OPT_BASELINE},
	{"format", "FORMAT", "text (default), markdown, junit or sarif", OPT_FORMAT},
	{"allow-partial", NULL, "pass where something could not be judged", OPT_ALLOW_PARTIAL},
	{"suppressions", "FILE", "leave out what it lists (LSan or Valgrind); repeatable",
	 OPT_SUPPRESSIONS},
	{"print-suppressions", "FORMAT", "write suppressions for the sites shown: lsan or valgrind",
	 OPT_PRINT_SUPPRESSIONS},
	{"no-wait", NULL, "do not wait for a recording that is being finished", OPT_NO_WAIT},
	{"color", "WHEN", "auto (default), always or never", OPT_COLOR},
	{"ascii", NULL, "no characters beyond ASCII", OPT_ASCII},
	{"units", "UNITS", "iec (default) or bytes", OPT_UNITS},
	{"quiet", NULL, "no progress", OPT_QUIET},
	{"help", NULL, "print this", OPT_HELP},
	{"version", NULL, "print the version", OPT_VERSION},
};

enum { N_ROWS = sizeof(rows) / sizeof(*rows) };

/* Whether `name` is one of the blank-separated words of `list`. */
static bool has_word(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = list; *p;) {
		size_t word = strcspn(p, " ");

		if (word == len && !memcmp(p, name, len))
			return true;
		p += word;
		p += strspn(p, " ");
	}
	return false;
}

static const struct option_row *find_row(const char *name, size_t len)
{
	for (size_t i = 0; i < N_ROWS; i++)
		if (strlen(rows[i].name) == len && !memcmp(rows[i].name, name, len))
			return &rows[i];
	return NULL;
}

static bool is_common(const struct option_row *row)
{
	return row->id == OPT_HELP || row->id == OPT_VERSION;
}

/* ---- help --------------------------------------------------------------------------------------
 */

static void print_row(const struct option_row *row)
{
	char left[64];

	snprintf(left, sizeof(left), "  %c%c%c --%s%s%s", row->id < 256 ? '-' : ' ',
		 row->id < 256 ? row->id : ' ', row->id < 256 ? ',' : ' ', row->name,
		 row->argument ? " " : "", row->argument ? row->argument : "");
	printf(strlen(left) > 23 ? "%s  %s\n" : "%-23s %s\n", left, row->help);
}

void cli_print_help(const struct cli_verb *verb)
{
	if (!verb) {
		puts("Usage: fraganalyze [VERB] [OPTIONS] FILE\n\n"
		     "Say what a recording of a program's heap means.\n");
		for (verb = cli_verbs; verb->name; verb++)
			printf("  %-10s %s\n", verb->name, verb->summary);
		puts("\nExamples:\n"
		     "  fraganalyze leaks --json soak.frag | jq '.leaks[0]'\n"
		     "\n'fraganalyze VERB --help' lists a verb's options. Exit status: 0 done, 1 "
		     "failed,\n"
		     "2 usage, 3 the recording is missing, damaged or newer, 4 check could not "
		     "judge all.");
		return;
	}
	printf("Usage: fraganalyze %s [OPTIONS] %s\n\n%c%s.\n\n", verb->name, verb->operands,
	       toupper((unsigned char)verb->summary[0]), verb->summary + 1);
	for (const char *p = verb->options; *p;) {
		size_t word = strcspn(p, " ");

		print_row(find_row(p, word));
		p += word;
		p += strspn(p, " ");
	}
	print_row(find_row("help", 4));
	printf("\nExample:\n  %s\n", verb->example);
}

/* ---- times -------------------------------------------------------------------------------------
 */

static bool parse_unit(const char **at, double *seconds)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"min", 60},
		     {"s", 1},	   {"m", 60},	 {"h", 3600},  {"d", 86400}};

	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		size_t len = strlen(units[i].name);

		if (!strncmp(*at, units[i].name, len) && !isalpha((unsigned char)(*at)[len])) {
			*at += len;
			*seconds = units[i].seconds;
			return true;
		}
	}
	return false;
}

bool cli_parse_time(const char *text, uint64_t end_ns, uint64_t *ret)
{
	bool from_end = *text == '-';
	const char *at = text + from_end;
	double total = 0;

	do {
		double value, unit = 1;
		char *after;

		if (!isdigit((unsigned char)*at))
			return false;
		value = strtod(at, &after);
		if (strspn(at, "0123456789.") != (size_t)(after - at))
			return false; /* no exponents, no hexadecimal */
		at = after;
		if (*at && !parse_unit(&at, &unit))
			return false;
		total += value * unit;
	} while (*at);

	if (total > 1e10) /* three centuries */
		return false;

	uint64_t ns = (uint64_t)(total * 1e9 + 0.5);

	if (from_end)
		*ret = ns < end_ns ? end_ns - ns : 0;
	else
		*ret = ns;
	return true;
}

/* ---- sizes -------------------------------------------------------------------------------------
 */

/* A number and a unit of size at `*at`, which then is behind them. */
static bool parse_size(const char **at, double *ret)
{
	static const struct {
		const char *name;
		double bytes;
	} units[] = {{"KiB", 1024.0},
		     {"MiB", 1048576.0},
		     {"GiB", 1073741824.0},
		     {"TiB", 1099511627776.0},
		     {"kB", 1e3},
		     {"KB", 1e3},
		     {"MB", 1e6},
		     {"GB", 1e9},
		     {"TB", 1e12},
		     {"K", 1024.0},
		     {"k", 1024.0},
		     {"M", 1048576.0},
		     {"G", 1073741824.0},
		     {"T", 1099511627776.0},
		     {"B", 1.0}};
	size_t digits = strspn(*at, "0123456789.");
	char *after;

	if (!digits || !isdigit((unsigned char)**at))
		return false;
	*ret = strtod(*at, &after);
	if (after != *at + digits)
		return false;
	while (*after == ' ')
		after++;
	*at = after;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		size_t len = strlen(units[i].name);

		if (!strncmp(after, units[i].name, len)) {
			*ret *= units[i].bytes;
			*at = after + len;
			break;
		}
	}
	return true;
}

bool cli_parse_size(const char *text, uint64_t *ret)
{
	double value;

	if (!parse_size(&text, &value) || *text || value > 1e18)
		return false;
	*ret = (uint64_t)(value + 0.5);
	return true;
}

bool cli_parse_rate(const char *text, double *ret)
{
	double bytes, seconds;

	if (!parse_size(&text, &bytes) || *text++ != '/' || !parse_unit(&text, &seconds) || *text)
		return false;
	*ret = bytes / seconds;
	return true;
}

/* ---- parse -------------------------------------------------------------------------------------
 */

/* The index of `text` among the words of `choices`, or -1 after a message. */
static int choose(const char *option, const char *text, const char *const *choices)
{
	for (int i = 0; choices[i]; i++)
		if (!strcmp(choices[i], text))
			return i;
	fprintf(stderr, "fraganalyze: --%s: '%s' is not one of", option, text);
	for (int i = 0; choices[i]; i++)
		fprintf(stderr, "%s%s", i ? ", " : " ", choices[i]);
	fputc('\n', stderr);
	return -1;
}

static bool take_size(const char *option, const char *text, uint64_t *ret)
{
	if (cli_parse_size(text, ret))
		return true;
	fprintf(stderr, "fraganalyze: --%s: '%s' is not a size such as 64MiB\n", option, text);
	return false;
}

/* The options of check. */
static bool take_limit(int id, const char *value, struct cli_options *o)
{
	char *end;

	switch (id) {
	case OPT_MAX_GROWTH:
		o->has_max_growth = true;
		o->max_growth_text = value;
		if (cli_parse_rate(value, &o->max_growth))
			return true;
		fprintf(stderr, "fraganalyze: --max-growth: '%s' is not a rate such as 1MiB/h\n",
			value);
		return false;
	case OPT_MAX_LIVE:
		o->has_max_live = true;
		return take_size("max-live", value, &o->max_live);
	case OPT_MAX_RSS:
		o->has_max_rss = true;
		return take_size("max-rss", value, &o->max_rss);
	default:
		errno = 0;
		o->max_errors = strtoull(value, &end, 10);
		if (isdigit((unsigned char)*value) && !*end && !errno)
			return true;
		fprintf(stderr, "fraganalyze: --max-errors: '%s' is not a number\n", value);
		return false;
	}
}

static bool parse_top(const char *text, unsigned *ret)
{
	char *end;

	errno = 0;

	unsigned long value = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || errno || value < 1 || value > 1000000) {
		fprintf(stderr, "fraganalyze: --top: '%s' is not a number from 1 to 1000000\n",
			text);
		return false;
	}
	*ret = (unsigned)value;
	return true;
}

/* --min-block and --arena */
static bool take_block_size(int id, const char *value, struct cli_options *o)
{
	uint64_t bytes;

	if (!cli_parse_size(value, &bytes) || !bytes || bytes > UINT64_C(1) << 40) {
		fprintf(stderr, "fraganalyze: --%s: '%s' is not a size such as 64 or 4MiB\n",
			id == OPT_ARENA ? "arena" : "min-block", value);
		return false;
	}
	if (id == OPT_MIN_BLOCK && (bytes & (bytes - 1))) {
		fprintf(stderr, "fraganalyze: --min-block: '%s' is no power of two\n", value);
		return false;
	}
	*(id == OPT_ARENA ? &o->arena_bytes : &o->min_block) = bytes;
	return true;
}

static bool take_option(int id, const char *value, struct cli_options *o)
{
	static const char *const by[] = {"live", "peak", "allocated", "temporary", NULL};
	static const char *const sort[] = {"peak",  "allocated", "temporary", "live",
					   "count", "realloc",	 NULL};
	static const char *const when[] = {"auto", "always", "never", NULL};
	static const char *const units[] = {"iec", "bytes", NULL};
	static const char *const langs[] = {"en", "zh", NULL};
	static const char *const outputs[] = {"text", "markdown", "junit", "sarif", NULL};
	static const char *const formats[] = {"lsan", "valgrind", NULL};
	uint64_t ignored;
	int choice = 0;

	switch (id) {
	case OPT_JSON:
		o->json = true;
		break;
	case OPT_CSV:
		o->csv = true;
		break;
	case OPT_FORCE:
		o->force = true;
		break;
	case OPT_NO_WAIT:
		o->no_wait = true;
		break;
	case OPT_ASCII:
		o->ascii = true;
		break;
	case OPT_QUIET:
		o->quiet = true;
		break;
	case OPT_OUTPUT:
		o->output = value;
		break;
	case OPT_FROM:
	case OPT_TO:
		/* What is no time is the label of a mark, which the recording knows. */
		*(id == OPT_FROM ? &o->from : &o->to) = value;
		break;
	case OPT_AT:
		if (strcmp(value, "peak") != 0 && !cli_parse_time(value, 0, &ignored)) {
			fprintf(stderr,
				"fraganalyze: --at: '%s' is neither 'peak' nor a time such as "
				"10s\n",
				value);
			return false;
		}
		o->at = value;
		break;
	case OPT_SITES:
		o->sites = true;
		break;
	case OPT_PAGES:
		o->pages = true;
		break;
	case OPT_SERIES:
		o->series = true;
		break;
	case OPT_SVG:
		o->svg = value;
		break;
	case OPT_TOP:
		return parse_top(value, &o->top);
	case OPT_BY:
		choice = choose("by", value, by);
		o->by = (enum cli_by)choice;
		break;
	case OPT_SORT:
		choice = choose("sort", value, sort);
		o->sort = (enum cli_sort)choice;
		break;
	case OPT_COLOR:
		choice = choose("color", value, when);
		o->color = (enum cli_color)choice;
		break;
	case OPT_UNITS:
		choice = choose("units", value, units);
		o->plain_bytes = choice == 1;
		break;
	case OPT_MAX_GROWTH:
	case OPT_MAX_LIVE:
	case OPT_MAX_RSS:
	case OPT_MAX_ERRORS:
		return take_limit(id, value, o);
	case OPT_BASELINE:
		o->baseline = value;
		break;
	case OPT_ALLOW_PARTIAL:
		o->allow_partial = true;
		break;
	case OPT_FORMAT:
		choice = choose("format", value, outputs);
		o->format = (enum cli_format)choice;
		break;
	case OPT_LIMIT:
		if (!cli_parse_size(value, &o->limit_bytes) || !o->limit_bytes) {
			fprintf(stderr, "fraganalyze: --limit: '%s' is not a size such as 2GiB\n",
				value);
			return false;
		}
		break;
	case OPT_MIN_BLOCK:
	case OPT_ARENA:
		return take_block_size(id, value, o);
	case OPT_UNMOVABLE:
		if (o->n_unmovable == CLI_MAX_UNMOVABLE) {
			fprintf(stderr, "fraganalyze: --unmovable: more than %d sites\n",
				CLI_MAX_UNMOVABLE);
			return false;
		}
		o->unmovable[o->n_unmovable++] = value;
		break;
	case OPT_PER:
		o->per = value;
		break;
	case OPT_SUPPRESSIONS:
		if (o->n_suppressions == CLI_MAX_SUPPRESSIONS) {
			fprintf(stderr, "fraganalyze: --suppressions: more than %d files\n",
				CLI_MAX_SUPPRESSIONS);
			return false;
		}
		o->suppressions[o->n_suppressions++] = value;
		break;
	case OPT_PRINT_SUPPRESSIONS:
		choice = choose("print-suppressions", value, formats);
		o->print_suppressions = value;
		break;
	case OPT_LANG:
		choice = choose("lang", value, langs);
		o->lang = value;
		break;
	}
	return choice >= 0;
}

static int take_operands(const struct cli_verb *verb, int n, char **operands, struct cli_options *o)
{
	bool sql = strstr(verb->operands, "SQL") != NULL;
	int most = strchr(verb->operands, ' ') ? 2 : 1;
	int wanted = strchr(verb->operands, '[') ? 1 : most;

	if (n < wanted) {
		fprintf(stderr, "fraganalyze: %s needs %s; try 'fraganalyze %s --help'\n",
			verb->name,
			wanted == 2 && !sql ? "two recordings"
			: n == 0	    ? "a recording"
					    : "a query",
			verb->name);
		return CLI_USAGE;
	}
	if (n > most) {
		fprintf(stderr, "fraganalyze: '%s' is one argument too many for %s\n",
			operands[most], verb->name);
		return CLI_USAGE;
	}
	o->path = operands[0];
	o->sql = sql ? operands[1] : NULL;
	o->second_path = n == 2 && !sql ? operands[1] : NULL;
	return CLI_OK;
}

int cli_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_options *ret,
	      bool *done)
{
	struct option longs[N_ROWS + 1] = {0};
	char shorts[2 * N_ROWS + 1] = "";
	int n_longs = 0, id;

	for (size_t i = 0; i < N_ROWS; i++) {
		if (!is_common(&rows[i]) && !has_word(verb->options, rows[i].name))
			continue;
		longs[n_longs++] = (struct option){
			.name = rows[i].name,
			.has_arg = rows[i].argument ? required_argument : no_argument,
			.val = rows[i].id,
		};
		if (rows[i].id < 256) {
			char one[3] = {(char)rows[i].id, rows[i].argument ? ':' : '\0', '\0'};

			strcat(shorts, one);
		}
	}

	*ret = (struct cli_options){0};
	argv[0] = (char[]){"fraganalyze"}; /* getopt's messages begin with it */
	optind = 1;
	while ((id = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (id == '?') {
			fprintf(stderr, "Try 'fraganalyze %s --help'.\n", verb->name);
			return CLI_USAGE;
		}
		if (id == OPT_HELP) {
			cli_print_help(verb);
			*done = true;
			return CLI_OK;
		}
		if (id == OPT_VERSION) {
			puts("fraganalyze " FT_VERSION);
			*done = true;
			return CLI_OK;
		}
		if (!take_option(id, optarg, ret))
			return CLI_USAGE;
	}
	if (ret->json && ret->csv) {
		fputs("fraganalyze: --json and --csv exclude each other\n", stderr);
		return CLI_USAGE;
	}
	return take_operands(verb, argc - optind, argv + optind, ret);
}
