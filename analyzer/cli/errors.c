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

/* What is at the address instead of a block. */
static void print_place(const struct fa_value *error)
{
	const char *region = fa_value_text(error, "region");
	const char *mapping = fa_value_text(error, "mapping");
	bool has_offset = !fa_value_is_null(fa_value_get(error, "offset"));
	uint64_t offset = (uint64_t)fa_value_i64(error, "offset");
	struct fa_text given, block;

	if (!fa_value_is_null(fa_value_get(error, "given_bytes")))
		printf(", with a size of %s for a block of %s",
		       fa_format_bytes(fa_value_u64(error, "given_bytes"), &given),
		       fa_format_bytes(fa_value_u64(error, "block_bytes"), &block));
	if (!region) {
		if (has_offset)
			printf(", %" PRIu64 " bytes into the block", offset);
		return;
	}
	if (!strcmp(region, "stack") && has_offset && offset)
		printf(", in the [stack of thread #%" PRIu64 "]", offset);
	else if (!strcmp(region, "stack"))
		printf(", in a [stack]");
	else if (!strcmp(region, "unmapped"))
		printf(", where nothing is mapped");
	else if (!strcmp(region, "heap"))
		printf(", in the heap, where no block begins");
	else if (!strcmp(region, "mmap"))
		printf(", 0x%" PRIx64 " bytes into a mapping that is no heap", offset);
	else if (mapping) {
		printf(!strcmp(region, "data") || !strcmp(region, "code") ? ", in the %s of "
									  : ", in ",
		       region);
		term_text(mapping, 0);
		if (has_offset)
			printf("+0x%" PRIx64, offset);
	}
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
	print_place(error);
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

	const struct fa_value *section = cli_section(&a, "errors");
	const struct fa_value *errors = fa_value_get(section, "errors");
	uint64_t suppressed = fa_value_u64(section, "suppressed");
	uint64_t unknown = fa_value_u64(section, "unknown_frees");

	status = errors && errors->n ? CLI_FAILED : CLI_OK;
	if (options->json) {
		cli_print_json(&a, "errors");
		cli_analysis_deinit(&a);
		return status;
	}

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
	if (unknown)
		printf("%" PRIu64
		       " free%s of blocks that the recording does not know: no error is made of "
		       "that.\n",
		       unknown, unknown == 1 ? "" : "s");
	cli_analysis_deinit(&a);
	return status;
}
