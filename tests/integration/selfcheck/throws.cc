// SPDX-License-Identifier: MIT
// Allocates around exceptions: before the throw, in destructors while it passes, in handlers, and
// from containers and callbacks deep in libstdc++ and libc.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

struct cleanup {
	std::string name;

	explicit cleanup(unsigned n)
	    : name("a name that is too long for the string itself " + std::to_string(n))
	{
	}
	~cleanup()
	{
		std::string last = name + " goes";
	}
};

unsigned descend(unsigned levels, unsigned seed)
{
	cleanup here(levels);

	if (levels == 0)
		throw std::runtime_error("at the bottom, number " + std::to_string(seed));
	if (seed % 7 == levels) {
		try {
			return descend(levels - 1, seed * 5 + 1);
		} catch (const std::runtime_error &error) {
			auto copy = std::make_unique<std::string>(error.what());

			if (seed % 2)
				throw;
			return static_cast<unsigned>(copy->size());
		}
	}
	return descend(levels - 1, seed + 1) + 1;
}

int compare(const void *a, const void *b)
{
	std::string left(60, *static_cast<const char *>(a)),
		right(60, *static_cast<const char *>(b));

	return left.compare(right);
}

} // namespace

int main(int argc, char **argv)
{
	unsigned rounds =
			 argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : 100,
		 caught = 0;
	std::map<std::string, std::vector<unsigned>> seen;

	for (unsigned i = 0; i < rounds; i++) {
		try {
			seen["depth " + std::to_string(i % 50)].push_back(descend(3 + i % 9, i));
		} catch (const std::exception &error) {
			seen[error.what()].push_back(i);
			caught++;
		}

		char letters[] = "selfcheck";

		std::qsort(letters, sizeof(letters) - 1, 1, compare);
		std::vector<std::string> words(4, std::string(letters));

		std::sort(words.begin(), words.end(),
			  [](const std::string &a, const std::string &b) {
				  return a + std::string(40, '.') < b + std::string(40, '.');
			  });
	}
	std::printf("%u caught\n", caught);
	return caught > 0 ? 0 : 1;
}
