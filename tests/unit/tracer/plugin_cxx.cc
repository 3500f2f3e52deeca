// SPDX-License-Identifier: MIT
// A C++ library for a C program: new, delete, and an exception through operator new.
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

extern "C" int plugin_work(size_t size)
{
	char *volatile block = new char[size];
	volatile size_t huge = SIZE_MAX / 2;
	std::string text(size, 'x');

	delete[] block;
	try {
		block = new char[huge];
	} catch (const std::bad_alloc &) {
		return text.size() == size ? 0 : 2;
	}
	return 1;
}
