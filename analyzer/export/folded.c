/* SPDX-License-Identifier: MIT */
/*
 * Folded stacks: a line a stack, "outermost;...;innermost VALUE", as flamegraph.pl, inferno,
 * speedscope and many others read them. One metric; stacks that have none of it are left out, as
 * are two stacks with the same names merged by whoever reads it.
 */
#include <string.h>

#include "export_impl.h"

/* ';' parts frames and a line ends a stack: in a name both become something else. */
static void add_name(struct ft_strbuf *buf, const char *name)
{
	for (; *name; name++)
		ft_strbuf_addc(buf, *name == ';' ? ':' : (unsigned char)*name < ' ' ? ' ' : *name);
}

FA_EXPORT_WRITER(fa_export_folded)
{
	ft_auto_strbuf struct ft_strbuf buf;
	struct fa_export_stack stack;
	struct fa_export_walk walk;
	struct ft_error *error = NULL;
	char text[FA_EXPORT_TEXT];

	ft_strbuf_init(&buf);
	fa_export_walk_init(&walk, source);
	while (!error && fa_export_next(&walk, &stack)) {
		if (!stack.value[options->metric])
			continue;
		for (size_t i = stack.n_frames; i-- > 0;) {
			add_name(&buf, fa_export_frame_text(&stack.frames[i], text));
			if (i)
				ft_strbuf_addc(&buf, ';');
		}
		ft_strbuf_addf(&buf, " %llu\n", (unsigned long long)stack.value[options->metric]);
		error = fa_export_flush_some(&buf, out);
	}
	if (!error)
		error = fa_export_flush(&buf, out);

	struct ft_error *walked = fa_export_walk_end(&walk);

	return error ? error : walked;
}
