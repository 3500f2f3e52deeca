// SPDX-License-Identifier: MIT
// Every allocation call once, in a fixed order, between two calls of valloc(4001) that frame them.
// Sizes are odd ones that nothing else uses. Exits 1 if a call or errno is not what it should be.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>

extern "C" {
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
void cfree(void *) __attribute__((weak));
}

static void *volatile sink;
static int failures;
static volatile size_t huge = SIZE_MAX / 2;

#define CHECK(x)                                                   \
	do {                                                       \
		if (!(x)) {                                        \
			dprintf(2, "line %d: %s\n", __LINE__, #x); \
			failures++;                                \
		}                                                  \
	} while (0)

struct alignas(64) wide {
	char bytes[192];
};

int main()
{
	errno = 77;
	void *frame = sink = valloc(4001);

	free(sink = malloc(1001));
	free(sink = calloc(7, 143));
	void *p = sink = realloc(nullptr, 1003);
	p = sink = realloc(p, 100003);
	p = sink = reallocarray(p, 5, 201);
	CHECK(realloc(p, 0) == nullptr); // frees
	CHECK(posix_memalign(&p, 256, 1006) == 0);
	free(sink = p);
	free(sink = aligned_alloc(128, 1024));
	free(sink = memalign(512, 1007));
	free(sink = valloc(1008));
	free(sink = pvalloc(1009));
	free(nullptr);
	CHECK(errno == 77);

	// What fails is not recorded, and *memptr is not read.
	p = reinterpret_cast<void *>(1);
	CHECK(posix_memalign(&p, 3, 1010) == EINVAL);
	CHECK(posix_memalign(&p, 64, huge) == ENOMEM);
	errno = 0;
	CHECK(malloc(huge) == nullptr && errno == ENOMEM);
	CHECK(calloc(huge, 16) == nullptr);
	p = sink = malloc(1011);
	CHECK(realloc(p, huge) == nullptr); // p lives on
	CHECK(reallocarray(p, huge, 16) == nullptr);
	if (free_sized)
		free_sized(p, 1011);
	else
		free(p);
	p = sink = malloc(0);
	CHECK(p != nullptr);
	if (free_aligned_sized)
		free_aligned_sized(p, 16, 0);
	p = sink = malloc(1012);
	if (cfree)
		cfree(p);

	errno = 78;
	delete static_cast<char *>(sink = new char);
	delete[] static_cast<char *>(sink = new char[1013]);
	operator delete(sink = operator new(1014));
	operator delete(sink = operator new(1015, std::nothrow), std::nothrow);
	operator delete[](sink = operator new[](1016, std::nothrow), std::nothrow);
	operator delete(sink = operator new(1017), size_t(1017));
	operator delete[](sink = operator new[](1018), size_t(1018));
	delete static_cast<wide *>(sink = new wide);
	delete[] static_cast<wide *>(sink = new wide[2]);
	operator delete(sink = operator new(1019, std::align_val_t(128), std::nothrow),
			std::align_val_t(128), std::nothrow);
	operator delete[](sink = operator new[](1020, std::align_val_t(128), std::nothrow),
			  std::align_val_t(128), std::nothrow);
	CHECK(errno == 78);
	CHECK(operator new(huge, std::nothrow) == nullptr);
	try {
		sink = operator new[](huge);
		CHECK(!"thrown");
	} catch (const std::bad_alloc &) {
	}
	// After an exception has passed, a malloc is a malloc.
	free(sink = malloc(1021));

	free(frame);
	sink = valloc(4001);
	return failures != 0;
}
