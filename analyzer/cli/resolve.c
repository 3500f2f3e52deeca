/* SPDX-License-Identifier: MIT */
/* fraganalyze resolve: add the names of functions to a recording that has none, or too few. */
#include <inttypes.h>
#include <stdio.h>

#include "cli.h"
#include "ft_symbol.h"

int verb_resolve(const struct cli_verb *verb, const struct cli_options *options)
{
	const struct ft_symbolize_options how = {.use_cache = true, .isolate = true};
	struct ft_symbolize_result r = {0};
	struct ft_reader *reader;
	struct ft_error *error;

	/* What is no recording, or a newer one, is refused in the same words as everywhere. */
	error = ft_reader_open(options->path, 0, &reader);
	if (error)
		return cli_fail_input(error);
	ft_reader_close(reader);

	error = ft_symbolize(options->path, &how, &r);
	if (error)
		return cli_fail(error, CLI_FAILED);
	if (r.timed_out)
		cli_warn("%s: out of time; what was found is kept, run it again for the rest",
			 options->path);
	if (options->json)
		printf("{\"schema\":1,\"addresses\":%" PRIu64 ",\"resolved\":%" PRIu64
		       ",\"with_line\":%" PRIu64 ",\"modules\":%u,\"modules_missing\":%u"
		       ",\"modules_mismatched\":%u}\n",
		       r.n_addresses, r.n_resolved, r.n_with_line, r.n_modules, r.n_modules_missing,
		       r.n_modules_mismatched);
	else
		printf("%" PRIu64 " of %" PRIu64 " addresses named, %" PRIu64
		       " with a source line; %u modules, %u gone, %u of another build\n",
		       r.n_resolved, r.n_addresses, r.n_with_line, r.n_modules, r.n_modules_missing,
		       r.n_modules_mismatched);
	return CLI_OK;
}
