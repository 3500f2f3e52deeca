/* SPDX-License-Identifier: MIT */
/* A library to load and unload; built twice, alike but for a string. */
#include <stdlib.h>

void *plugin_allocate(size_t size);
const char *plugin_name(void);

const char *plugin_name(void)
{
	return PLUGIN_NAME;
}

void *plugin_allocate(size_t size)
{
	void *volatile block = malloc(size);

	return block;
}
