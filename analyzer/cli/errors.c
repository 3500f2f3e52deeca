/* SPDX-License-Identifier: MIT */
/* fraganalyze errors: frees that should not have been, with the stacks of the block's life. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

enum { DEFAULT_TOP = 20, STACK_MAX = 12 };

static void print_end(const char *what, const struct fa_value *end)
{
	struct fa_text at;

	if (fa_value_is_null(end))
		return;
	printf("    %s", what);
	if (fa_value_text(end, "call"))
		printf(" by %s at %s, thread #%" PRIu64, fa_value_text(end, "call"),
		       fa_format_time(fa_value_u64(end, "time_ns"), &at),
		       fa_value_u64(end, "thread"));
	putchar('\n');
	term_stack(fa_value_get(end, "stack"), STACK_MAX);
}

static void print_error(const struct fa_value *error)
{
	const char *call = fa_value_text(error, "call");
	struct fa_text at, count;

	printf("%s", term_on(STYLE_RED));
	term_text(fa_value_text(error, "kind"), 0);
	printf("%s of 0x%" PRIx64 " at %s, thread #%" PRIu64, term_off(),
	       fa_value_u64(error, "address"), fa_format_time(fa_value_u64(error, "time_ns"), &at),
	       fa_value_u64(error, "thread"));
	if (call)
		printf(", by %s", call);
	if (!fa_value_is_null(fa_value_get(error, "offset")))
		printf(", %" PRId64 " bytes into the block", fa_value_i64(error, "offset"));
	if (fa_value_u64(error, "count") > 1)
		printf(" (%s alike)", fa_format_count(fa_value_u64(error, "count"), &count));
	putchar('\n');
	term_stack(fa_value_get(error, "stack"), STACK_MAX);
	print_end("allocated", fa_value_get(error, "allocated"));
	print_end("freed before", fa_value_get(error, "freed"));
}

int verb_errors(const struct cli_verb *verb, const struct cli_options *options)
{
	struct cli_analysis a;
	unsigned top = options->top ? options->top : DEFAULT_TOP, shown = 0;
	int status = cli_analyse(options, verb->passes, &a);

	if (status != CLI_OK)
		return status;
	if (options->json) {
		cli_print_json(&a, "errors");
		cli_analysis_deinit(&a);
		return CLI_OK;
	}

	const struct fa_value *section = cli_section(&a, "errors");
	const struct fa_value *errors = fa_value_get(section, "errors");
	uint64_t suppressed = fa_value_u64(section, "suppressed");

	if (!errors || !errors->n)
		puts(suppressed ? "No other bad free was recorded." : "No bad free was recorded.");
	for (const struct fa_value *e = errors ? errors->first : NULL; e && shown < top;
	     e = e->next, shown++)
		print_error(e);
	if (errors && errors->n > top)
		printf("%zu more (--top N shows more)\n", errors->n - top);
	if (fa_value_text(section, "limits"))
		printf("Not all can be known: %s.\n", fa_value_text(section, "limits"));
	if (suppressed)
		printf("Suppressed: %" PRIu64 " bad free%s.\n", suppressed,
		       suppressed == 1 ? "" : "s");
	cli_analysis_deinit(&a);
	return CLI_OK;
}
