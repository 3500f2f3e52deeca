// SPDX-License-Identifier: MIT
/*
 * Leaks for suppressions: each site loses one block whose size is its own, so that a tool's output
 * tells which of them it left out.
 */
#include <cstdlib>
#include <cstring>

#define KEEP_FRAME __attribute__((noinline))

extern "C" {
KEEP_FRAME void *leak_plain(size_t n)
{
	return malloc(n);
}

KEEP_FRAME void *leak_zeroed(size_t n)
{
	return calloc(1, n);
}

KEEP_FRAME void *deep(size_t n)
{
	return leak_plain(n);
}

KEEP_FRAME void *deeper(size_t n)
{
	return deep(n);
}

KEEP_FRAME void *recurse(int depth, size_t n)
{
	return depth ? recurse(depth - 1, n) : leak_plain(n);
}

KEEP_FRAME void *grown(size_t n)
{
	return realloc(malloc(n / 2), n);
}
}

namespace shop
{
template <typename T> struct Shelf {
	KEEP_FRAME T *take(size_t n)
	{
		return new T[n];
	}
};

KEEP_FRAME char *single()
{
	return new char;
}

KEEP_FRAME void *hidden(const char *, size_t n)
{
	return ::operator new(n);
}
} // namespace shop

/* Far below what main leaves on the stack, so that no tool finds a pointer there. */
static KEEP_FRAME void lose_all()
{
	shop::Shelf<char> chars;
	shop::Shelf<short> shorts;
	void *volatile p;

	p = leak_plain(101);
	p = leak_zeroed(102);
	p = deep(103);
	p = deeper(104);
	p = recurse(5, 105);
	p = grown(106);
	p = strdup("a text that takes 31 bytes now");
	p = chars.take(107);
	p = shorts.take(54);
	p = shop::single();
	p = shop::hidden("x", 109);
	p = nullptr;
	(void)p;
}

int main()
{
	lose_all();
	return 0;
}
