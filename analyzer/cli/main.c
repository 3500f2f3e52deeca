/* SPDX-License-Identifier: MIT */
/* fraganalyze: what a recording means. Verbs, and nothing else; each has a file of its own. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define WINDOW "from to no-wait no-keyframes jobs quiet"
#define TEXT   "json color ascii units"

static const char *const summary_passes[] = {"timeline", "leaks",   "errors", "?frag",
					     "quality",	 "summary", NULL};
static const char *const leaks_passes[] = {"leaks", "sites", "quality", "summary", NULL};
static const char *const sites_passes[] = {"largest", "lifetimes", "mapped",  "pools",	 "reallocs",
					   "sites",   "usage",	   "quality", "summary", NULL};
static const char *const threads_passes[] = {"threads", "quality", "summary", NULL};
static const char *const frag_passes[] = {"frag", "quality", "summary", NULL};
static const char *const buddy_passes[] = {"buddy", "quality", "summary", NULL};
static const char *const compact_passes[] = {"compact", "quality", "summary", NULL};
static const char *const errors_passes[] = {"errors", "quality", "summary", NULL};
static const char *const diff_passes[] = {"leaks", "quality", "summary", NULL};
static const char *const check_passes[] = {"errors", "leaks", "quality", "summary", NULL};
static const char *const no_names[] = {NULL};

const struct cli_verb cli_verbs[] = {
	{.name = "summary",
	 .summary = "what was recorded, and what to look at (also without a verb)",
	 .operands = "FILE",
	 .example = "fraganalyze soak.frag",
	 .options = "quick fast per limit suppressions " WINDOW " " TEXT,
	 .passes = summary_passes,
	 .run = verb_summary},
	{.name = "leaks",
	 .summary = "what is still live, by call stack, and which of it grows",
	 .operands = "FILE",
	 .example = "fraganalyze leaks --by=peak --top 5 soak.frag",
	 .options = "by top per limit suppressions print-suppressions fast " WINDOW " " TEXT,
	 .passes = leaks_passes,
	 .run = verb_leaks},
	{.name = "sites",
	 .summary = "what each call stack does: at the peak, in total, temporary, largest",
	 .operands = "FILE",
	 .example = "fraganalyze sites --sort temporary --top 5 soak.frag",
	 .options = "sort top " WINDOW " " TEXT,
	 .passes = sites_passes,
	 .run = verb_sites},
	{.name = "threads",
	 .summary = "memory by allocating thread, and who freed whose",
	 .operands = "FILE",
	 .example = "fraganalyze threads --from -10m soak.frag",
	 .options = "top fast " WINDOW " " TEXT,
	 .passes = threads_passes,
	 .run = verb_threads},
	{.name = "frag",
	 .summary = "the heap's layout: pages, holes, and who pins them",
	 .operands = "FILE",
	 .example = "fraganalyze frag --at peak soak.frag",
	 .options = "at sites pages series top " WINDOW " " TEXT,
	 .passes = frag_passes,
	 .run = verb_frag},
	{.name = "map",
	 .summary = "the heap as a map of addresses: how full, and what is resident",
	 .operands = "FILE",
	 .example = "fraganalyze map --at peak --svg heap.svg soak.frag",
	 .options = "at svg force " WINDOW " " TEXT,
	 .passes = frag_passes,
	 .run = verb_map},
	{.name = "buddy",
	 .summary = "the heap as a zone of pages, and its requests on a buddy allocator",
	 .operands = "FILE",
	 .example = "fraganalyze buddy --arena 8MiB soak.frag",
	 .options = "at min-block arena " WINDOW " " TEXT,
	 .passes = buddy_passes,
	 .run = verb_buddy},
	{.name = "compact",
	 .summary = "what moving pages together would win, and for how much copying",
	 .operands = "FILE",
	 .example = "fraganalyze compact --at peak --unmovable cache_insert soak.frag",
	 .options = "at unmovable " WINDOW " " TEXT,
	 .passes = compact_passes,
	 .run = verb_compact},
	{.name = "node",
	 .summary = "the memory of a machine: free blocks, compaction, slabs, what to do",
	 .operands = "FILE",
	 .example = "fraganalyze node node.frag",
	 .options = "top series no-wait " TEXT,
	 .run = verb_node},
	{.name = "errors",
	 .summary = "double, interior, invalid and mismatched frees; exit status 1 if any",
	 .operands = "FILE",
	 .example = "fraganalyze errors soak.frag",
	 .options = "top suppressions " WINDOW " " TEXT,
	 .passes = errors_passes,
	 .run = verb_errors},
	{.name = "diff",
	 .summary = "what changed between two recordings, by stack: growth against growth",
	 .operands = "A B",
	 .example = "fraganalyze diff old.frag new.frag",
	 .options = "per top suppressions fast " WINDOW " " TEXT,
	 .passes = diff_passes,
	 .run = verb_diff},
	{.name = "check",
	 .summary = "a gate for continuous integration: exit status 1 when something grows",
	 .operands = "FILE",
	 .example =
		 "fraganalyze check --max-growth 1MiB/h --format junit -o fragtrace.xml soak.frag",
	 .options = "max-growth max-live max-rss max-errors baseline allow-partial format output "
		    "json suppressions fast from to no-wait no-keyframes jobs quiet color",
	 .passes = check_passes,
	 .run = verb_check},
	{.name = "report",
	 .summary = "all of it in one HTML file; of two recordings with what changed",
	 .operands = "FILE [NEWER]",
	 .example = "fraganalyze report soak.frag -o soak.html",
	 .options = "output force lang json max-html-size redact top per limit suppressions "
		    "fast " WINDOW,
	 .passes = no_names,
	 .run = verb_report},
	{.name = "export",
	 .summary = "for other tools: flame graphs, pprof, Massif, Perfetto, rows",
	 .operands = "FILE",
	 .example = "fraganalyze export --format pprof -o soak.pb.gz soak.frag",
	 .options = "export-format metric rows output force redact per suppressions " WINDOW,
	 .run = verb_export},
	{.name = "top",
	 .summary = "a recording as it grows, refreshed each second",
	 .operands = "FILE|PID",
	 .example = "fraganalyze top soak.frag",
	 .options = "delay top-sort filter batch iterations top-sites json quick no-wait quiet "
		    "color",
	 .run = verb_top},
	{.name = "query",
	 .summary = "SQL over the recording, tables event and allocation included",
	 .operands = "FILE SQL",
	 .example = "fraganalyze query soak.frag 'SELECT * FROM event LIMIT 5'",
	 .options = "json csv no-wait color",
	 .run = verb_query},
	{.name = "resolve",
	 .summary = "look the names of functions up and add them to the file",
	 .operands = "FILE",
	 .example = "fraganalyze resolve soak.frag",
	 .options = "json quiet",
	 .run = verb_resolve},
	{.name = "completion",
	 .summary = "a script that lets a shell complete all this",
	 .operands = "bash|zsh|fish",
	 .example = "source <(fraganalyze completion bash)",
	 .options = "",
	 .run = verb_completion},
	{.name = NULL},
};

const struct cli_verb *cli_verb_find(const char *name)
{
	for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
		if (!strcmp(verb->name, name))
			return verb;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct cli_verb *verb = argc > 1 ? cli_verb_find(argv[1]) : NULL;
	struct cli_options options;
	bool done = false;
	int skip = verb ? 1 : 0, status;

	/* Characters only: numbers are always written with a point. */
	setlocale(LC_CTYPE, "");

	if (argc < 2) {
		fputs("fraganalyze: no recording given; try 'fraganalyze --help'\n", stderr);
		return CLI_USAGE;
	}
	if (!verb) {
		if (!strcmp(argv[1], "--version")) {
			puts("fraganalyze " FT_VERSION);
			return CLI_OK;
		}
		if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
		    !strcmp(argv[1], "help")) {
			verb = argc > 2 ? cli_verb_find(argv[2]) : NULL;
			cli_print_help(verb);
			return CLI_OK;
		}
		if (argv[1][0] != '-' && !strpbrk(argv[1], "./") && access(argv[1], F_OK) < 0) {
			fprintf(stderr,
				"fraganalyze: '%s' is neither a verb nor a file; try "
				"'fraganalyze --help'\n",
				argv[1]);
			return CLI_USAGE;
		}
		verb = &cli_verbs[0];
	}
	status = cli_parse(verb, argc - skip, argv + skip, &options, &done);
	if (status != CLI_OK || done)
		return status;
	term_init(&options);
	status = verb->run(verb, &options);
	if (fflush(stdout) || ferror(stdout)) {
		cli_warn("cannot write the result: %s", strerror(errno));
		return status ? status : CLI_FAILED;
	}
	return status;
}
