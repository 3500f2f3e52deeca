// SPDX-License-Identifier: MIT
/*
 * A program that uses what allocates once and keeps it, inside the C and C++ libraries: stdio,
 * locales, time zones, the passwd database, exceptions, threads and their keys, dlopen, atexit, the
 * environment. One block of 777 bytes is its own.
 */
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <iostream>
#include <pthread.h>
#include <pwd.h>
#include <stdexcept>
#include <thread>

static void *volatile own;

static void throw_one()
{
	try {
		throw std::runtime_error("expected");
	} catch (const std::exception &error) {
		std::cerr << error.what() << "\n";
	}
}

int main()
{
	time_t now = time(nullptr);

	setlocale(LC_ALL, "");
	tzset();
	localtime(&now);
	printf("%ld\n", (long)now);
	std::cout << "text" << std::endl;
	throw_one();
	std::thread(throw_one).join();
	for (int i = 0; i < 40; i++) {
		pthread_key_t key;

		pthread_key_create(&key, nullptr);
		pthread_setspecific(key, &now);
		atexit([] {});
	}
	getpwuid(0);
	dlopen("libm.so.6", RTLD_NOW);
	setenv("FRAGTRACE_TEST_VARIABLE", "value", 1);
	own = malloc(777);
	return 0;
}
