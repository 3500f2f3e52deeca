/* SPDX-License-Identifier: MIT */
/* Names for the stacks of a recording: see co_symbols.h. */
#include "co_symbols.h"

#include "ft_symbol.h"

struct ft_error *co_symbols_add(const char *path)
{
	struct ft_symbolize_options options = {.use_cache = true, .isolate = true, .nice = 10};

	return ft_symbolize(path, &options, NULL);
}
