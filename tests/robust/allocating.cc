// SPDX-License-Identifier: MIT
// operator new that fails: bad_alloc, and handlers that leave it by every way there is.
//
//	test-allocating SCENE	ends with lines `NAME COUNT` on stdout
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <pthread.h>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

constexpr std::size_t too_much = PTRDIFF_MAX - 1000;
void *volatile sink;
std::jmp_buf back;

void witness(const char *name, unsigned long count)
{
	std::printf("%s %lu\n", name, count);
}

void pair(std::size_t size)
{
	sink = ::operator new(size);
	::operator delete(sink);
}

__attribute__((noinline)) void fail()
{
	sink = ::operator new(too_much);
}

void bad_alloc()
{
	unsigned long caught = 0;

	for (int i = 0; i < 1000; i++) {
		std::vector<std::unique_ptr<char[]>> passed;

		try {
			passed.push_back(std::make_unique<char[]>(62001));
			fail();
		} catch (const std::bad_alloc &) {
			caught++;
			pair(62002);
		}
	}
	witness("caught", caught);
}

void jump()
{
	sink = std::malloc(62003);
	std::longjmp(back, 1);
}

// What longjmp() leaves behind must not swallow or hold back what comes afterwards.
void handler_jumps()
{
	std::set_new_handler(jump);
	for (volatile int i = 0; i < 200; i = i + 1) {
		if (!setjmp(back))
			fail();
		std::free(sink);
		pair(62004);
		sink = std::malloc(62005);
		::operator delete(::operator new(62006));
		std::free(sink);
	}
	witness("jumps", 200);
}

void leave()
{
	sink = std::malloc(62007);
	std::exit(0);
}

void handler_exits()
{
	witness("kept", 1);
	std::fflush(stdout);
	std::set_new_handler(leave);
	fail();
}

void end_thread()
{
	sink = std::malloc(62008);
	pthread_exit(nullptr);
}

void *thread(void *)
{
	pair(62009);
	fail();
	return nullptr;
}

void handler_ends_thread()
{
	std::set_new_handler(end_thread);
	for (int i = 0; i < 20; i++) {
		pthread_t id;

		if (pthread_create(&id, nullptr, thread, nullptr) == 0)
			pthread_join(id, nullptr);
		pair(62010);
	}
	witness("threads", 20);
}

struct on_the_way {
	~on_the_way()
	{
		pair(62011);
	}
};

__attribute__((noinline)) void descend(int levels)
{
	on_the_way here;

	if (levels)
		descend(levels - 1);
	else
		throw std::runtime_error(std::string(300, 'x'));
}

void through_frames()
{
	unsigned long caught = 0;

	for (int i = 0; i < 200; i++) {
		try {
			descend(20);
		} catch (const std::runtime_error &) {
			caught++;
		}
	}
	witness("destroyed", caught * 21);
}

} // namespace

int main(int argc, char **argv)
{
	const struct {
		const char *name;
		void (*play)();
	} scenes[] = {{"bad-alloc", bad_alloc},
		      {"handler-jumps", handler_jumps},
		      {"handler-exits", handler_exits},
		      {"handler-ends-thread", handler_ends_thread},
		      {"through-frames", through_frames}};

	for (const auto &scene : scenes)
		if (argc > 1 && std::strcmp(argv[1], scene.name) == 0) {
			scene.play();
			return 0;
		}
	return 2;
}
