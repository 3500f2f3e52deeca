/* SPDX-License-Identifier: MIT */
/*
 * Frees after everything else has been torn down
 *
 * The loader runs .preinit_array before any library's constructor, so that what is registered with
 * atexit() there runs after all destructors, a preloaded library's included. A tracer that takes
 * its own destructor for the end reports this block as leaked.
 */
#include <stdlib.h>
#include <string.h>

static char *late_block, *destructor_block;

static void late_free(void)
{
	free(late_block);
}

static void register_late_free(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	atexit(late_free);
}

__attribute__((section(".preinit_array"), used)) static void (*first)(int, char **,
								      char **) = register_late_free;

__attribute__((destructor)) static void destroy(void)
{
	free(destructor_block);
}

int main(void)
{
	late_block = malloc(12345);
	destructor_block = malloc(23456);
	memset(late_block, 1, 12345);
	memset(destructor_block, 1, 23456);
	return 0;
}
