/* SPDX-License-Identifier: MIT */
/* The table of options, and --help: see option_rows.h. */
#include "option_rows.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const by[] = {"live", "peak", "allocated", "temporary", NULL};
static const char *const sort[] = {"peak",  "allocated", "temporary", "live",
				   "count", "realloc",	 "largest",   NULL};
static const char *const when[] = {"auto", "always", "never", NULL};
static const char *const units[] = {"iec", "bytes", NULL};
static const char *const langs[] = {"en", "zh", NULL};
static const char *const outputs[] = {"text", "markdown", "junit", "sarif", NULL};
static const char *const suppression_formats[] = {"lsan", "valgrind", NULL};
static const char *const export_formats[] = {
	"folded", "speedscope", "pprof", "gperftools", "massif", "csv", "json", "perfetto", NULL};
/* In the order of enum fa_metric; "live" is another word for the first. */
static const char *const metrics[] = {"leaked",	   "peak", "allocated", "count",
				      "temporary", "live", NULL};
static const char *const csv_rows[] = {"sites", "timeline", NULL};
static const char *const top_sorts[] = {"live", "blocks", "minute", "start", "allocs", NULL};
const char *const redact_words[] = {"paths", "args", "env", NULL};

const struct option_row option_rows[] = {
	{"by", "WHAT", "live (default), peak, allocated or temporary", OPT_BY, by},
	{"sort", "BY", "peak (default), allocated, temporary, live, count, realloc or largest",
	 OPT_SORT, sort},
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
	{"quick", NULL, "only what the recorder counted: no replay, no verdict", OPT_QUICK},
	{"fast", NULL, "of what is old take the recording's roll-ups: no replay of it", OPT_FAST},
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
	{"lang", "LANG", "language the report opens in: en or zh", OPT_LANG, langs},
	{"per", "MARK", "count operations by marks of this label, and give growth for each",
	 OPT_PER},
	{"max-growth", "RATE", "most that sites may grow, such as 1MiB/h", OPT_MAX_GROWTH},
	{"max-live", "SIZE", "most memory that may be live at any time", OPT_MAX_LIVE},
	{"max-rss", "SIZE", "most that may be resident", OPT_MAX_RSS},
	{"max-errors", "N", "bad frees that are allowed (default: 0)", OPT_MAX_ERRORS},
	{"baseline", "OLD", "a recording; growth and bad frees that it has are no errors",
	 OPT_BASELINE},
	{"format", "FORMAT", "text (default), markdown, junit or sarif", OPT_FORMAT, outputs},
	{"allow-partial", NULL, "pass where something could not be judged", OPT_ALLOW_PARTIAL},
	{"suppressions", "FILE", "leave out what it lists (LSan or Valgrind); repeatable",
	 OPT_SUPPRESSIONS},
	{"print-suppressions", "FORMAT", "write suppressions for the sites shown: lsan or valgrind",
	 OPT_PRINT_SUPPRESSIONS, suppression_formats},
	{"no-keyframes", NULL, "replay from the first event to the window: slower, and the same",
	 OPT_NO_KEYFRAMES},
	{"jobs", "N", "processors that replay, 1 to 64 (default: as are free to use)", OPT_JOBS},
	{"no-wait", NULL, "do not wait for a recording that is being finished", OPT_NO_WAIT},
	{"color", "WHEN", "auto (default), always or never", OPT_COLOR, when},
	{"ascii", NULL, "no characters beyond ASCII", OPT_ASCII},
	{"units", "UNITS", "iec (default) or bytes", OPT_UNITS, units},
	{"quiet", NULL, "no progress", OPT_QUIET},
	{"format", "FORMAT", "of which tool; see below", OPT_EXPORT_FORMAT, export_formats,
	 "export-format"},
	{"metric", "METRIC", "leaked (default), peak, allocated, count or temporary", OPT_METRIC,
	 metrics},
	{"rows", "WHAT", "of csv: sites (default) or timeline", OPT_ROWS, csv_rows},
	{"redact", "[WHAT]", "hide paths, args, env (default: all three)", OPT_REDACT,
	 redact_words},
	{"max-html-size", "SIZE", "coarsen the page until it fits (default: 8 MiB)",
	 OPT_MAX_HTML_SIZE},
	{"batch", NULL, "plain text, one screen after another: for pipes and files", OPT_BATCH},
	{"iterations", "N", "end after so many screens", OPT_ITERATIONS, .letter = 'n'},
	{"delay", "SECONDS", "between two of them, from 0.1 (default: 1)", OPT_DELAY},
	{"sort", "BY", "live, blocks, minute (default), start or allocs", OPT_TOP_SORT, top_sorts,
	 "top-sort"},
	{"filter", "TEXT", "only sites whose function or file has it", OPT_FILTER},
	{"sites", "N", "how many of them are printed (default: 20)", OPT_TOP_SITES,
	 .word = "top-sites"},
	{"help", NULL, "print this", OPT_HELP},
	{"version", NULL, "print the version", OPT_VERSION},
	{NULL, NULL, NULL, 0, NULL, NULL},
};

const struct option_row *option_row_by_id(int id)
{
	for (const struct option_row *row = option_rows; row->name; row++)
		if (row->id == id)
			return row;
	return NULL;
}

/* By the word that verbs have for it. */
static const struct option_row *find(const char *word, size_t len)
{
	for (const struct option_row *row = option_rows; row->name; row++) {
		const char *own = row->word ? row->word : row->name;

		if (strlen(own) == len && !memcmp(own, word, len))
			return row;
	}
	return NULL;
}

const struct option_row *option_row_of(const struct cli_verb *verb, size_t index)
{
	const char *p = verb->options ? verb->options : "";

	for (; *p; index--) {
		size_t len = strcspn(p, " ");

		if (!index)
			return find(p, len);
		p += len;
		p += strspn(p, " ");
	}
	return index < 2 ? option_row_by_id(index ? OPT_VERSION : OPT_HELP) : NULL;
}

/* ---- help --------------------------------------------------------------------------------------
 */

static void print_row(const struct option_row *row)
{
	bool optional = row->argument && *row->argument == '[';
	char left[64], letter[8] = "    ";

	if (option_letter(row))
		snprintf(letter, sizeof(letter), "-%c, ", option_letter(row));
	/* "[WHAT]" is printed as "[=WHAT]" */
	snprintf(left, sizeof(left), "  %s--%s%s%s", letter, row->name,
		 !row->argument ? ""
		 : optional	? "[="
				: " ",
		 row->argument ? row->argument + optional : "");
	printf(strlen(left) > 23 ? "%s  %s\n" : "%-23s %s\n", left, row->help);
}

void cli_print_help(const struct cli_verb *verb)
{
	const struct option_row *row;

	if (!verb) {
		puts("Usage: fraganalyze [VERB] [OPTIONS] FILE: what a recording of a heap "
		     "means\n");
		for (verb = cli_verbs; verb->name; verb++)
			printf("  %-10s %s\n", verb->name, verb->summary);
		puts("\nExample: fraganalyze leaks --json soak.frag | jq '.leaks[0]'\n"
		     "'fraganalyze VERB --help' lists a verb's options. Exit status: 0 done, 1 "
		     "failed,\n"
		     "2 usage, 3 the recording is missing, damaged or newer, 4 check could not "
		     "judge all.");
		return;
	}
	printf("Usage: fraganalyze %s [OPTIONS] %s\n%c%s.\n\n", verb->name, verb->operands,
	       toupper((unsigned char)verb->summary[0]), verb->summary + 1);
	for (size_t i = 0; (row = option_row_of(verb, i)); i++)
		if (row->id != OPT_VERSION)
			print_row(row);
	if (!strcmp(verb->name, "export"))
		puts("\nFormats: folded, speedscope, pprof, gperftools, massif, csv, json, "
		     "perfetto");
	printf("\nExample: %s\n", verb->example);
}
