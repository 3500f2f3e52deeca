/* SPDX-License-Identifier: MIT */
/* The plugin of plugin_host.c: every form of new and delete, and an exception. */
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

struct alignas(64) Wide {
	char bytes[128];
};

} // namespace

extern "C" __attribute__((visibility("default"))) int plugin_work(int n)
{
	std::vector<std::string> words;
	int caught = 0;

	for (int i = 0; i < n; i++) {
		words.push_back(std::string(100, static_cast<char>('a' + i % 26)));
		delete new Wide;
		delete[] new Wide[3];
		delete[] new (std::nothrow) int[50];
		::operator delete(::operator new(40));
		try {
			if (i % 10 == 0)
				throw std::runtime_error("every tenth");
		} catch (const std::exception &) {
			caught++;
		}
	}
	return static_cast<int>(words.size()) + caught;
}
