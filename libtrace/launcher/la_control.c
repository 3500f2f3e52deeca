/* SPDX-License-Identifier: MIT */
/* fragtrace mark and fragtrace ctl: see la_control.h. */
#include "la_control.h"

#include <stdio.h>

#include "ft_control.h"
#include "ft_error.h"

struct ft_error *la_control(pid_t pid, enum co_control_verb verb, const char *text)
{
	struct co_control_answer answer;

	FT_TRY(ft_control_ask(pid, verb, text, &answer, NULL));
	if (answer.n_text)
		puts(answer.text);
	return NULL;
}
