/* SPDX-License-Identifier: MIT */
/*
 * Fuzzer of the JSON reader: any text is a document or an error, and the accessors take what comes
 */
#include <stdlib.h>
#include <string.h>

#include "fa_json_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t visit(const struct fa_value *value)
{
	size_t n = 1;

	for (const struct fa_value *item = value->first; item; item = item->next)
		n += visit(item);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ft_arena arena = {0};
	const struct fa_value *value = NULL;
	char *text = malloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	ft_arena_init(&arena);
	struct ft_error *error = fa_json_parse(&arena, text, &value);
	if (!error) {
		visit(value);
		fa_value_u64(value, "a");
		fa_value_f64(value, "b");
		fa_value_text(fa_value_get(value, "c"), "d");
	}
	ft_error_destroy(error);
	ft_arena_deinit(&arena);
	free(text);
	return 0;
}
