/* SPDX-License-Identifier: MIT */
/*
 * A C program that loads a C++ plugin with RTLD_LOCAL
 *
 * libstdc++ comes in with the plugin and is not in the global scope: a preloaded operator new finds
 * no next definition there and has to look in the caller's own scope.
 */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	int (*work)(int);

	if (!plugin) {
		fprintf(stderr, "plugin_host: %s\n", argc > 1 ? dlerror() : "no plugin named");
		return 2;
	}
	*(void **)&work = dlsym(plugin, "plugin_work");
	if (!work)
		return 3;
	printf("%d\n", work(100));
	return dlclose(plugin);
}
