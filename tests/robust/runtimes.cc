/* SPDX-License-Identifier: MIT */
/*
 * C++ runtimes side by side: test-runtimes own|make|all PLUGIN...
 *
 * Of plugin number i, blocks of 50000 + 100 i + n bytes, ten times, odd sizes by new[]:
 *	n 0, 1	the plugin makes and drops them
 *	n 2, 3	the plugin makes them, the program drops them	with `make` and `all`
 *	n 4, 5	the program makes them, the plugin drops them	with `all`
 *	n 6, 7	the plugin makes them, nobody drops them
 */
#include <cstdio>
#include <cstring>
#include <dlfcn.h>

typedef void *make_fn(int array, std::size_t bytes);
typedef void drop_fn(int array, void *block);

static void *make(int array, std::size_t bytes)
{
	return array ? new char[bytes] : ::operator new(bytes);
}

static void drop(int array, void *block)
{
	if (array)
		delete[] static_cast<char *>(block);
	else
		::operator delete(block);
}

int main(int argc, char **argv)
{
	bool all = argc > 1 && std::strcmp(argv[1], "all") == 0;
	bool makes = all || (argc > 1 && std::strcmp(argv[1], "make") == 0);

	for (int i = 2; i < argc; i++) {
		void *plugin = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
		std::size_t base = 50000 + 100 * static_cast<std::size_t>(i - 2);

		if (!plugin) {
			std::fprintf(stderr, "test-runtimes: %s\n", dlerror());
			return 2;
		}
		make_fn *its_make = reinterpret_cast<make_fn *>(dlsym(plugin, "plugin_make"));
		drop_fn *its_drop = reinterpret_cast<drop_fn *>(dlsym(plugin, "plugin_drop"));

		for (int n = 0; n < 10; n++) {
			for (int array = 0; array < 2; array++) {
				its_drop(array,
					 its_make(array, base + static_cast<unsigned>(array)));
				its_make(array, base + 6 + static_cast<unsigned>(array));
				if (makes)
					drop(array,
					     its_make(array,
						      base + 2 + static_cast<unsigned>(array)));
				if (all)
					its_drop(array,
						 make(array,
						      base + 4 + static_cast<unsigned>(array)));
			}
		}
	}
	std::puts("done");
	return 0;
}
