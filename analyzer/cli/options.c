/* SPDX-License-Identifier: MIT */
/* Options: parsing by the table of option_rows.c. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option_rows.h"

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

static bool parse_count(const char *option, const char *text, unsigned max, unsigned *ret)
{
	char *end;

	errno = 0;

	unsigned long value = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)*text) || *end || errno || value < 1 || value > max) {
		fprintf(stderr, "fraganalyze: --%s: '%s' is not a number from 1 to %u\n", option,
			text, max);
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

/* "paths,env"; without a word all of them. */
static bool take_redact(const char *value, unsigned *ret)
{
	if (!value)
		*ret = FA_REDACT_ALL;
	while (value && *value) {
		char word[16];
		size_t len = strcspn(value, ",");
		int choice;

		snprintf(word, sizeof(word), "%.*s", (int)len, value);
		choice = choose("redact", word, redact_words);
		if (choice < 0)
			return false;
		*ret |= 1U << choice;
		value += len;
		value += *value == ',';
	}
	return true;
}

static bool take_option(int id, const char *value, struct cli_options *o)
{
	uint64_t ignored;
	const struct option_row *row = option_row_by_id(id);
	int choice = 0;

	if (row->choices && id != OPT_REDACT) {
		choice = choose(row->name, value, row->choices);
		if (choice < 0)
			return false;
	}
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
	case OPT_NO_KEYFRAMES:
		o->no_keyframes = true;
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
	case OPT_FAST:
		o->rolled_events = 1;
		break;
	case OPT_QUICK:
		o->quick = true;
		break;
	case OPT_SVG:
		o->svg = value;
		break;
	case OPT_TOP:
	case OPT_TOP_SITES:
		return parse_count(row->name, value, 1000000, &o->top);
	case OPT_ITERATIONS:
		return parse_count(row->name, value, 1000000, &o->iterations);
	case OPT_BATCH:
		o->batch = true;
		break;
	case OPT_DELAY:
		if (fa_top_parse_delay(value, &o->delay_s))
			break;
		fprintf(stderr,
			"fraganalyze: --delay: '%s' is not a number of seconds from 0.1 to 3600\n",
			value);
		return false;
	case OPT_TOP_SORT:
		o->has_top_sort = true;
		o->top_sort = (enum fa_top_sort)choice;
		break;
	case OPT_FILTER:
		o->filter = value;
		break;
	case OPT_JOBS:
		return parse_count("jobs", value, 64, &o->jobs);
	case OPT_BY:
		o->by = (enum cli_by)choice;
		break;
	case OPT_SORT:
		o->sort = (enum cli_sort)choice;
		break;
	case OPT_COLOR:
		o->color = (enum cli_color)choice;
		break;
	case OPT_UNITS:
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
		o->print_suppressions = value;
		break;
	case OPT_LANG:
		o->lang = value;
		break;
	case OPT_EXPORT_FORMAT:
		o->export_format = value;
		break;
	case OPT_METRIC:
		o->metric = choice < FA_N_METRICS ? (enum fa_metric)choice : FA_METRIC_LEAKED;
		break;
	case OPT_ROWS:
		o->timeline_rows = choice == 1;
		break;
	case OPT_REDACT:
		return take_redact(value, &o->redact);
	case OPT_MAX_HTML_SIZE:
		return take_size(row->name, value, &o->max_html_bytes);
	}
	return true;
}

static int take_operands(const struct cli_verb *verb, int n, char **operands, struct cli_options *o)
{
	bool sql = strstr(verb->operands, "SQL") != NULL;
	int most = strchr(verb->operands, ' ') ? 2 : 1;
	int wanted = strchr(verb->operands, '[') ? 1 : most;

	if (n < wanted) {
		fprintf(stderr, "fraganalyze: %s needs %s; try 'fraganalyze %s --help'\n",
			verb->name,
			wanted == 2 && !sql		      ? "two recordings"
			: !strncmp(verb->operands, "bash", 4) ? "a shell's name"
			: n == 0			      ? "a recording"
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

/* What getopt returned for an option of the verb, a letter perhaps, as its id. */
static int option_of(const struct cli_verb *verb, int c)
{
	const struct option_row *row;

	for (size_t i = 0; c < 256 && (row = option_row_of(verb, i)); i++)
		if (option_letter(row) == c)
			return row->id;
	return c;
}

int cli_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_options *ret,
	      bool *done)
{
	struct option longs[OPTION_ROWS_MAX + 1] = {0};
	char shorts[2 * OPTION_ROWS_MAX + 1] = "";
	const struct option_row *row;
	int n_longs = 0, id;

	for (size_t i = 0; (row = option_row_of(verb, i)) && n_longs < OPTION_ROWS_MAX; i++) {
		longs[n_longs++] = (struct option){
			.name = row->name,
			.has_arg = !row->argument	   ? no_argument
				   : *row->argument == '[' ? optional_argument
							   : required_argument,
			.val = row->id,
		};
		if (option_letter(row)) {
			char one[3] = {option_letter(row), row->argument ? ':' : '\0', '\0'};

			strcat(shorts, one);
		}
	}

	*ret = (struct cli_options){0};
	argv[0] = (char[]){"fraganalyze"}; /* getopt's messages begin with it */
	optind = 1;
	while ((id = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		id = option_of(verb, id);
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
