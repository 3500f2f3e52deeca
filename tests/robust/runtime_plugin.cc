/* SPDX-License-Identifier: MIT */
/* A plugin of runtimes.cc. No headers: it is linked with one C++ runtime or another. */

typedef decltype(sizeof 0) bytes_t;

extern "C" __attribute__((visibility("default"))) void *plugin_make(int array, bytes_t bytes)
{
	return array ? new char[bytes] : ::operator new(bytes);
}

extern "C" __attribute__((visibility("default"))) void plugin_drop(int array, void *block)
{
	if (array)
		delete[] static_cast<char *>(block);
	else
		::operator delete(block);
}
